package conf

import (
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

const minimal = `[node]
name = "n1"
id = "0.1.0.1"
[cluster]
name = "c"
key_file = "k"
founders = ["0.1.0.1"]
[[link]]
name = "a"
listen = "127.0.0.1:7400"
[admin]
token_file = "tok"
`

func parse(t *testing.T, text string) *File {
	t.Helper()
	f, err := Parse("dir/node.toml", []byte(text))
	if err != nil {
		t.Fatalf("Parse: %v", err)
	}
	return f
}

func TestMinimalIsDefault(t *testing.T) {
	f := parse(t, minimal)
	want := Default()
	want.Path = "dir/node.toml"
	want.Node.Name, want.Node.ID = "n1", 0x00010001
	want.Node.Data = filepath.Join("dir", "data")
	want.Cluster.Name, want.Cluster.KeyFile = "c", filepath.Join("dir", "k")
	want.Cluster.Founders = f.Cluster.Founders
	want.Admin.TokenFile = filepath.Join("dir", "tok")
	want.Links = f.Links
	if !reflect.DeepEqual(f, want) {
		t.Errorf("a file of the required keys gives\n%+v, not the defaults\n%+v", f, want)
	}
}

// The reference shows each default in a line "#key = value". With all of them
// switched on the file must mean the same as without.
func TestReferenceShowsTheDefaults(t *testing.T) {
	beforePools, _, found := strings.Cut(Reference(), "#[[vip.pool]]")
	if !found {
		t.Fatal("the reference does not show [[vip.pool]]")
	}
	on := regexp.MustCompile(`(?m)^#([a-z_]+ = )`).ReplaceAllString(beforePools, "$1")
	off, all := parse(t, Reference()), parse(t, on)
	if !reflect.DeepEqual(off, all) {
		t.Errorf("a default in the reference is not that of Default():\n%+v\n%+v", off, all)
	}
	full := parse(t, on+regexp.MustCompile(`(?m)^#([a-z_]+ = |\[)`).ReplaceAllString("#[[vip.pool]]"+strings.SplitN(Reference(), "#[[vip.pool]]", 2)[1], "$1"))
	if len(full.VIP.Pools) != 1 || len(full.VIP.Pools[0].Addresses) != 2 {
		t.Errorf("the reference's pool gives %+v", full.VIP)
	}
}

func TestReferenceHasEveryKey(t *testing.T) {
	var walk func(path string, typ reflect.Type, have map[string]int)
	walk = func(path string, typ reflect.Type, have map[string]int) {
		for i := range typ.NumField() {
			name, _, _ := strings.Cut(typ.Field(i).Tag.Get("toml"), ",")
			if name == "-" {
				continue
			}
			sub := typ.Field(i).Type
			if sub.Kind() == reflect.Slice && isSection(sub.Elem()) {
				walk(join(path, name)+"[0]", sub.Elem(), have)
				continue
			}
			if isSection(sub) {
				walk(join(path, name), sub, have)
				continue
			}
			if have[join(path, name)] == 0 {
				t.Errorf("the reference does not show %s", join(path, name))
			}
		}
	}
	on := regexp.MustCompile(`(?m)^#([a-z_]+ = |\[)`).ReplaceAllString(Reference(), "$1")
	walk("", reflect.TypeFor[File](), lineIndex(on))
}

func TestSamplesLoad(t *testing.T) {
	samples, err := filepath.Glob("*.toml")
	if err != nil || len(samples) < 5 {
		t.Fatalf("samples: %v, %v", samples, err)
	}
	for _, name := range samples {
		t.Run(name, func(t *testing.T) {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			parse(t, string(text))
		})
	}
}

// All faults of a file come at once, each with its own line and what is allowed.
func TestAllFaultsAtOnce(t *testing.T) {
	text := `# a file with one fault on almost every line
[node]
name = "N 1"
id = "0.1.0"
drain_timeout = 10
colour = "red"

[cluster]
name = "c"
preset = "lann"
founders = ["0.1.0.1",
  "0.1.0.1",
  "x"]

[[link]]
name = "a"
listen = "10.0.0.1"
[[link]]
name = "a"
listen = "0.0.0.0:7400"

[[peer]]
id = "0.1.0.7"
links = []

[web]
listen = "10.0.0.1:8080"
vip_port = 70000
node_header = "yes"
[admin]
listen = "10.0.0.1:8081"
metrics_public = 1
[store]
reserve_bytes = "1 GB"
rebuild_after = "0s"
code = "2,3"
[vip]
driver = "loopback"
[[vip.pool]]
name = "web"
addresses = ["10.0.0.1/24", "127.0.1.1", "127.0.1.1/8"]
[[vip.pool]]
name = "b"
addresses = "127.0.1.9"
[wbe]
x = 1
`
	want := []struct {
		line int
		key  string
	}{
		{3, "node.name"}, {4, "node.id"}, {5, "node.drain_timeout"}, {6, "node.colour"},
		{8, "cluster.key_file"}, {10, "cluster.preset"}, {13, "cluster.founders[2]"},
		{17, "link[0].listen"}, {19, "link[1].name"}, {20, "link[1].listen"},
		{22, "peer[0].name"}, {24, "peer[0].links"},
		{27, "web.listen"}, {28, "web.vip_port"}, {29, "web.node_header"}, {30, "admin.token_file"}, {32, "admin.metrics_public"},
		{34, "store.reserve_bytes"}, {35, "store.rebuild_after"}, {36, "store.code"},
		{41, "vip.pool[0].addresses[0]"}, {41, "vip.pool[0].addresses[2]"}, {44, "vip.pool[1].addresses"}, {45, "wbe"},
	}
	_, err := Parse("f.toml", []byte(text))
	problems, ok := errors.AsType[Problems](err)
	if !ok {
		t.Fatalf("Parse = %v, no Problems", err)
	}
	var got []string
	for _, p := range problems {
		got = append(got, fmt.Sprintf("%d %s", p.Line, p.Key))
		if p.What == "" || p.Allowed == "" || p.File != "f.toml" {
			t.Errorf("%v does not say what is wrong and what is allowed", p)
		}
	}
	var exp []string
	for _, w := range want {
		exp = append(exp, fmt.Sprintf("%d %s", w.line, w.key))
	}
	if !slices.Equal(got, exp) {
		t.Errorf("faults:\n%v\ngot\n%s\nwant\n%s", err, strings.Join(got, "\n"), strings.Join(exp, "\n"))
	}
}

func TestFaultText(t *testing.T) {
	for _, c := range []struct{ name, from, to, want string }{
		{"enum", "[cluster]\n", "[cluster]\npreset = \"lann\"\n",
			`f.toml:5: cluster.preset: "lann" is not allowed; one of "lan", "fast", "wan", "laptop"`},
		{"syntax", "id = \"0.1.0.1\"", "id = 0.1.0.1", "f.toml:3: node.id: not TOML: "},
		{"twice", "name = \"c\"", "name = \"c\"\nname = \"d\"", "f.toml:6: "},
		{"founder without peer", "[\"0.1.0.1\"]", "[\"0.1.0.1\", \"0.1.0.2\"]",
			"f.toml:7: cluster.founders[1]: no [[peer]] has the id 0.1.0.2; write a [[peer]] for each founder but this node"},
		{"port twice", "7400\"\n", "8081\"\n", "f.toml:10: link[0].listen: 127.0.0.1:8081 is taken by admin.listen"},
		{"own id, other name", "[[link]]", "[[peer]]\nid = \"0.1.0.1\"\nname = \"x\"\nlinks = [\"127.0.0.1:7400\"]\n[[link]]",
			`f.toml:10: peer[0].name: "x" has this node's own id 0.1.0.1 and another name; "n1", as in [node], or another id`},
		{"section is a key", "[[link]]", "[link]", "f.toml:8: link: is a table, not a list; write [[link]] with two brackets for each one"},
		{"no link", "[[link]]\nname = \"a\"\nlisten = \"127.0.0.1:7400\"\n", "", "f.toml:1: link: missing; "},
		{"case", "name = \"c\"", "Name = \"c\"", "f.toml:5: cluster.Name: unknown key; allowed here: name, key_file,"},
	} {
		t.Run(c.name, func(t *testing.T) {
			text := strings.Replace(minimal, c.from, c.to, 1)
			if text == minimal {
				t.Fatal("the case changes nothing")
			}
			_, err := Parse("f.toml", []byte(text))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("Parse = %v\nwant  %s", err, c.want)
			}
		})
	}
}

func writeAll(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(files[name]), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestLoadSecrets(t *testing.T) {
	dir := t.TempDir()
	key := strings.Repeat("k", KeySize)
	writeAll(t, dir, map[string]string{
		"k":         base64.StdEncoding.EncodeToString([]byte(key)) + "\n",
		"tok":       "0123456789abcdef\n",
		"node.toml": minimal,
	})
	f, err := Load(filepath.Join(dir, "node.toml"))
	if err != nil {
		t.Fatal(err)
	}
	if string(f.Cluster.Key) != key || string(f.Admin.Token) != "0123456789abcdef" {
		t.Errorf("key %q, token %q", string(f.Cluster.Key), string(f.Admin.Token))
	}
	if len(f.Warnings) != 0 {
		t.Errorf("warnings for files of mode 0600: %v", f.Warnings)
	}
	if s := fmt.Sprintf("%v %+v %#v %s", f, f.Cluster, f.Cluster, f.Cluster.Key); strings.Contains(s, key) || strings.Contains(s, "0123456789abcdef") {
		t.Errorf("a secret shows in %s", s)
	}
	if runtime.GOOS != "windows" {
		if err := os.Chmod(filepath.Join(dir, "k"), 0o644); err != nil {
			t.Fatal(err)
		}
		f, err = Load(filepath.Join(dir, "node.toml"))
		if err != nil || len(f.Warnings) != 1 || f.Warnings[0].Line != 6 || f.Warnings[0].Key != "cluster.key_file" {
			t.Errorf("a key that all can read: %v, warnings %v", err, f.Warnings)
		}
	}

	writeAll(t, dir, map[string]string{"k": "c2hvcnQ=\n", "tok": "short\n"})
	_, err = Load(filepath.Join(dir, "node.toml"))
	problems, _ := errors.AsType[Problems](err)
	if len(problems) != 2 || problems[0].Line != 6 || problems[1].Line != 12 {
		t.Errorf("a short key and a short token: %v", err)
	}
	if _, err = Load(filepath.Join(dir, "none.toml")); err == nil || !strings.Contains(err.Error(), "none.toml:1: ") {
		t.Errorf("no file: %v", err)
	}
}

func TestDiff(t *testing.T) {
	old := parse(t, minimal)
	if d := Diff(old, parse(t, "# the same\n"+minimal)); len(d) != 0 {
		t.Errorf("no difference: %v", d)
	}
	changed := parse(t, strings.Replace(minimal, "7400", "7401", 1)+"[log]\nlevel = \"debug\"\n[store]\nrebuild_after = \"2h\"\n")
	changed.Cluster.Key = Secret("new")
	got := Diff(old, changed)
	want := []Change{
		{"cluster.key_file (content)", "(none)", "(secret)", false},
		{"link[0].listen", "127.0.0.1:7400", "127.0.0.1:7401", true},
		{"log.level", "info", "debug", false},
		{"store.rebuild_after", time.Hour.String(), (2 * time.Hour).String(), true},
	}
	if !slices.Equal(got, want) {
		t.Errorf("Diff = %v\nwant   %v", got, want)
	}
}

func TestLineIndex(t *testing.T) {
	text := "\ufefftop = 1\n" +
		"s = '''\n[no]\n#'''\n" + // 2..4
		"m = \"\"\"a\\\"\"\"\"\"\nafter = {x = 1, y = [\n1,\n# c\n2], \"q.r\" = \"]\"}\n" + // 5, 6..9
		"[a.b]\nc.d = 1 # x = 2\n[[p]]\nk = 'it''s'\n[p.sub]\nz = 1\n[[p]]\nk = 2\n[[p.q]]\nw=1979-05-27T07:32:00Z\n"
	lines := lineIndex(text)
	for path, want := range map[string]int{
		"top": 1, "s": 2, "m": 5, "after": 6, "after.x": 6, "after.y[0]": 7, "after.y[1]": 9, "after.q.r": 9,
		"a.b": 10, "a.b.c.d": 11, "p[0]": 12, "p[0].k": 13, "p[0].sub.z": 15, "p[1]": 16, "p[1].k": 17, "p[1].q[0].w": 19,
	} {
		if lines[path] != want {
			t.Errorf("line of %s = %d, want %d", path, lines[path], want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(minimal))
	f.Add([]byte(Reference()))
	f.Add([]byte("a = [[[{b = '''\n''', c.\"d\" = 1}]]]\n[[link]]\n[link.x]\n[vip]\npool = [{name = 'x'}, 3]"))
	f.Add([]byte("[node]\nname = \"\"\"\\\n x\"\"\"\nid = 1979-05-27\n[node.name]"))
	f.Add([]byte("\"\\"))
	f.Add([]byte("[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[["))
	f.Fuzz(func(t *testing.T, text []byte) {
		file, err := Parse("f", text)
		if (file == nil) == (err == nil) {
			t.Fatalf("Parse = %v, %v", file, err)
		}
		total := strings.Count(string(text), "\n") + 1
		problems, _ := errors.AsType[Problems](err)
		for _, p := range problems {
			if p.Line < 1 || p.Line > total || p.What == "" {
				t.Fatalf("%+v in a file of %d lines", p, total)
			}
		}
		lineIndex(string(text)) // ends on anything
	})
}
