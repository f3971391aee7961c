package invite

import (
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"
)

func example() Token {
	return New("office", [32]byte{1, 2, 3}, time.UnixMilli(1_800_000_000_123), []netip.AddrPort{
		netip.MustParseAddrPort("10.0.0.1:7400"), netip.MustParseAddrPort("[fd00::1]:7400"),
	})
}

func TestToken(t *testing.T) {
	want := example()
	text := want.String()
	got, err := Parse(" " + text + "\n")
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("%q is read as\n%+v, %v; want\n%+v", text, got, err, want)
	}
	if other := example(); other.ID == want.ID || other.Secret == want.Secret {
		t.Error("two invitations share an id or a secret")
	}
	for i := range text { // each letter counts
		bad := []byte(text)
		bad[i] ^= 1
		if got, err := Parse(string(bad)); err == nil && !reflect.DeepEqual(got, want) {
			t.Errorf("with letter %d changed: %+v", i, got)
		}
		if _, err := Parse(text[:i]); err == nil {
			t.Errorf("cut to %d letters it was accepted", i)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(example().String())
	f.Add("rain1-")
	f.Add("rain1-AAAA")
	f.Fuzz(func(t *testing.T, text string) {
		tok, err := Parse(text)
		if err != nil {
			return
		}
		if got := tok.String(); got != strings.TrimSpace(text) {
			t.Fatalf("accepted %q, writes it back as %q", text, got)
		}
	})
}
