package conf

import (
	"bytes"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"rain/ring"
)

func TestRenderIsParsedBack(t *testing.T) {
	full := Default()
	full.Path = "node.toml"
	full.Node = Node{Name: "n4", ID: 0x00010004, Data: "data", DrainTimeout: 3 * time.Second}
	full.Cluster = Cluster{
		Name: "office", KeyFile: "cluster.key", Preset: "laptop", Detection: "conservative", Policy: "witness",
		Founders: []ring.NodeID{0x00010001, 0x00010002}, Witness: "10.0.0.9:7401",
	}
	full.Links = []Link{{"a", netip.MustParseAddrPort("10.0.0.4:7400")}, {"b", netip.MustParseAddrPort("[fd00::4]:7400")}}
	for i, n := range []string{"n1", "n2"} {
		id := ring.NodeID(0x00010001 + i)
		full.Peers = append(full.Peers, Peer{id, n, []netip.AddrPort{netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(1 + i)}), 7400)}})
	}
	full.Log = Log{"debug", "json"}
	full.Web = Web{Listen: []netip.AddrPort{netip.MustParseAddrPort("10.0.0.4:80")}, VIPPort: 80, NodeHeader: true, Guestbook: true, AccessLog: "-", AccessFormat: "json"}
	full.Admin.TokenFile, full.Admin.MetricsPublic = "admin.token", true
	full.Store = Store{1 << 20, 2 * time.Hour, Code{6, 4}}
	full.Fault.Allow = true
	full.VIP = VIP{Driver: "linux", Pools: []Pool{{"web", "eth0", []netip.Prefix{netip.MustParsePrefix("10.0.0.100/24")}}}}

	plain := Default()
	plain.Path = "node.toml"
	plain.Node.Name, plain.Node.ID = "n1", 0x00010001
	plain.Cluster.Name, plain.Cluster.KeyFile, plain.Cluster.Founders = "x", "k", []ring.NodeID{0x00010001}
	plain.Links = []Link{{"a", netip.MustParseAddrPort("10.0.0.1:7400")}}
	plain.Admin.TokenFile = "t"
	for _, f := range []*File{full, plain} {
		text := Render(f)
		got, err := Parse("node.toml", text)
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		if !reflect.DeepEqual(got, f) {
			t.Errorf("read back\n%+v\nwant\n%+v\n%s", got, f, text)
		}
	}
}

func TestKeys(t *testing.T) {
	a, b := Secret(bytes.Repeat([]byte{1}, KeySize)), Secret(bytes.Repeat([]byte{2}, KeySize))
	for _, want := range [][]Secret{{a}, {b, a}} {
		got, err := ParseKeys(FormatKeys(want...))
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%d keys, %v", len(got), err)
		}
	}
	for _, bad := range []string{"", "x", string(FormatKeys(a, a, a, a)), string(FormatKeys(a)) + "short"} {
		if _, err := ParseKeys([]byte(bad)); err == nil {
			t.Errorf("%d bytes were taken for keys", len(bad))
		}
	}
}

func TestReplace(t *testing.T) {
	path := filepath.Join(t.TempDir(), "k")
	for _, content := range []string{"old and long", "new"} {
		if err := Replace(path, []byte(content)); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != content {
			t.Errorf("%q, %v", got, err)
		}
	}
	if names, err := os.ReadDir(filepath.Dir(path)); err != nil || len(names) != 1 {
		t.Errorf("left behind: %v, %v", names, err)
	}
	if err := Replace(filepath.Join(path, "below", "a", "file"), nil); err == nil {
		t.Error("no error for a folder that is none")
	}
}
