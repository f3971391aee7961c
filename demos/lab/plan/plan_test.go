package plan

import (
	"strings"
	"testing"
)

func TestBuilt(t *testing.T) {
	p, err := Parse("name = \"caltech\"\n[net]\nkind = \"diameter\"\nnodes = 10\nswitches = 4\nlinks = 2\nports = 8\n")
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Nodes()) != 10 || len(p.Switches) != 4 || len(p.Trunks) != 4 || len(p.VIPs()) != 2 {
		t.Fatalf("%+v", p)
	}
	h, ok := p.Host("n3")
	if !ok || len(h.Ports) != 2 || h.Ports[1].IPv4.String() != "10.77.2.3/16" || h.Ports[0].Cable != "n3-s3" {
		t.Fatalf("n3: %+v", h)
	}
	if c, ok := p.Host("client"); !ok || c.Node {
		t.Fatalf("no client: %+v", p.Hosts)
	}
}

func TestSpelled(t *testing.T) {
	p, err := Parse("switches=[\"s1\"]\n[[host]]\nname=\"n1\"\nto=[\"s1\",\"s1\"]\n[[host]]\nname=\"me\"\nrole=\"client\"\nto=[\"s1\"]\n")
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Hosts) != 2 || p.Hosts[0].Ports[0].Cable != "n1.0-s1" || p.Hosts[0].Ports[1].Cable != "n1.1-s1" {
		t.Fatalf("%+v", p.Hosts)
	}
}

func TestRefused(t *testing.T) {
	for text, want := range map[string]string{
		"":                                   "no switch",
		"nmae = 1":                           "nmae",
		"switches=[\"s1\",\"s1\"]":           "twice",
		"switches=[\"s-1\"]":                 "letters",
		"switches=[\"s1\"]\ntrunks=[\"s1\"]": "trunk",
		"switches=[\"s1\"]\n[[host]]\nname=\"n1\"\nto=[\"s2\"]":                  "no switch",
		"switches=[\"s1\"]\n[[host]]\nname=\"n1\"\nto=[]":                        "interfaces",
		"switches=[\"s1\"]\n[[host]]\nname=\"n1\"\nto=[\"s1\"]\nrole=\"king\"":   "role",
		"switches=[\"s1\"]\n[net]\nkind=\"naive\"\nnodes=1\nswitches=1\nlinks=1": "leave yours out",
		"[net]\nkind=\"naive\"\nnodes=1\nswitches=1\nlinks=3":                    "links",
		"switches=[\"s1\"]\n[cluster]\nvips=1000":                                "VIPs",
	} {
		if _, err := Parse(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("switches=[\"s1\"]\n[[host]]\nname=\"n1\"\nto=[\"s1\"]")
	f.Add("[net]\nkind=\"chord\"\nnodes=9\nswitches=9\nlinks=2")
	f.Fuzz(func(t *testing.T, text string) {
		p, err := Parse(text)
		if err == nil && (len(p.Hosts) == 0 || len(p.Hosts) > MaxHosts+1) {
			t.Fatalf("%d hosts", len(p.Hosts))
		}
	})
}
