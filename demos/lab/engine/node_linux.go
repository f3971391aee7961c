package engine

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"rain/demos/lab/plan"
)

// ClusterFile is what rainctl reads; the other keys are for scripts.
type ClusterFile struct {
	API   int      `json:"api"`
	Token string   `json:"token"`
	Admin []string `json:"admin"`
	VIPs  []string `json:"vips"`
	Dir   string   `json:"dir"`
	Nodes []Node   `json:"nodes"`
}

// Node is where a node's admin address is, by each interface of its host.
type Node struct {
	Name  string   `json:"name"`
	Admin string   `json:"admin"`
	Also  []string `json:"also"`
}

const (
	webPort   = 8080
	adminPort = 8081
	ringPort  = 7400
)

// writeNodes makes the files of all nodes below dir, once: a laboratory that is
// started again in the same folder goes on with what it has.
func writeNodes(dir string, p *plan.Plan) (ClusterFile, error) {
	cf := ClusterFile{API: 1, Dir: dir}
	_, err := secret(filepath.Join(dir, "cluster.key"), base64.StdEncoding.EncodeToString)
	if err != nil {
		return cf, err
	}
	if cf.Token, err = secret(filepath.Join(dir, "admin.token"), hex.EncodeToString); err != nil {
		return cf, err
	}
	for _, v := range p.VIPs() {
		cf.VIPs = append(cf.VIPs, fmt.Sprintf("%v:%d", v.Addr(), webPort))
	}
	for i, h := range p.Nodes() {
		n := Node{Name: h.Name, Also: []string{}}
		for j, port := range h.Ports {
			u := fmt.Sprintf("http://%v:%d", port.IPv4.Addr(), adminPort)
			if j == 0 {
				n.Admin = u
			} else {
				n.Also = append(n.Also, u)
			}
		}
		cf.Nodes, cf.Admin = append(cf.Nodes, n), append(cf.Admin, n.Admin)
		at := filepath.Join(dir, h.Name)
		if err := os.MkdirAll(at, 0o755); err != nil {
			return cf, err
		}
		if err := os.WriteFile(filepath.Join(at, "node.toml"), []byte(nodeFile(p, i, h)), 0o644); err != nil {
			return cf, err
		}
	}
	b, err := json.Marshal(cf)
	if err != nil {
		return cf, err
	}
	return cf, os.WriteFile(filepath.Join(dir, "lab.json"), append(b, '\n'), 0o600)
}

// secret reads a file of 32 random bytes, or makes it.
func secret(path string, encode func([]byte) string) (string, error) {
	b, err := os.ReadFile(path)
	if os.IsNotExist(err) {
		raw := make([]byte, 32)
		rand.Read(raw)
		b = []byte(encode(raw) + "\n")
		err = os.WriteFile(path, b, 0o600)
	}
	if err != nil {
		return "", fmt.Errorf("lab: %w", err)
	}
	return strings.TrimSpace(string(b)), nil
}

// nodeFile writes the file of the i-th node.
func nodeFile(p *plan.Plan, i int, h *plan.Host) string {
	var b strings.Builder
	id := func(i int) string { return fmt.Sprintf("0.1.0.%d", i+1) }
	say := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	say("[node]\nname = %q\nid = %q\ndata = \"data\"\n", h.Name, id(i))
	say("[cluster]\nname = %q\nkey_file = \"../cluster.key\"\npreset = %q", p.Name, p.Cluster.Preset)
	if p.Cluster.Detection != "" {
		say("detection = %q", p.Cluster.Detection)
	}
	if !p.Cluster.Relay {
		say("relay = false")
	}
	var founders, peers []string
	for j, o := range p.Nodes() {
		founders = append(founders, fmt.Sprintf("%q", id(j)))
		var links []string
		for _, port := range o.Ports {
			links = append(links, fmt.Sprintf("%q", fmt.Sprintf("%v:%d", port.IPv4.Addr(), ringPort)))
		}
		peers = append(peers, fmt.Sprintf("[[peer]]\nid = %q\nname = %q\nlinks = [%s]\n", id(j), o.Name, strings.Join(links, ", ")))
	}
	say("founders = [%s]\n", strings.Join(founders, ", "))
	for _, port := range h.Ports {
		say("[[link]]\nname = %q\nlisten = \"%v:%d\"\n", port.Device, port.IPv4.Addr(), ringPort)
	}
	say("%s", strings.Join(peers, "\n"))
	var web []string
	for _, port := range h.Ports {
		web = append(web, fmt.Sprintf("%q", fmt.Sprintf("%v:%d", port.IPv4.Addr(), webPort)))
	}
	say("[web]\nlisten = [%s]\nvip_port = %d\nnode_header = true\n", strings.Join(web, ", "), webPort)
	say("[admin]\nlisten = \"0.0.0.0:%d\"\ntoken_file = \"../admin.token\"\nmetrics_public = true\n", adminPort)
	say("[fault]\nallow = true\n")
	if p.Cluster.Code != "" {
		say("[store]\ncode = %q\n", p.Cluster.Code)
	}
	if p.Cluster.VIPs == 0 {
		say("[vip]\ndriver = \"none\"")
		return b.String()
	}
	var vips []string
	for _, v := range p.VIPs() {
		vips = append(vips, fmt.Sprintf("%q", v))
	}
	on := p.Cluster.VIPInterface
	if on == "" {
		var all []string
		for _, port := range h.Ports {
			all = append(all, port.Device)
		}
		on = strings.Join(all, ",")
	}
	say("[vip]\ndriver = \"linux\"\n\n[[vip.pool]]\nname = \"web\"\ninterface = %q\naddresses = [%s]", on, strings.Join(vips, ", "))
	return b.String()
}
