package effect_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/valyala/fasthttp"

	"rain/snow/effect"
)

func TestParseKey(t *testing.T) {
	for in, want := range map[string]string{
		`"8e03978e-40d5"`: "8e03978e-40d5", `8e03978e-40d5`: "8e03978e-40d5", " \"a b\"\t": "a b", `"a\"\\b"`: `a"\b`,
		"a:b/c=d": "a:b/c=d", strings.Repeat("k", 128): strings.Repeat("k", 128),
	} {
		if got, err := effect.ParseKey([]byte(in)); err != nil || got != want {
			t.Errorf("%q is %q, %v, want %q", in, got, err, want)
		}
	}
	for _, in := range []string{
		"", " ", `""`, `"`, `"a`, `"a\`, `"a\n"`, `"a"b`, `"a";p=1`, "a b", "a,b", "a;b", `a"b`, "a\x00", "\"a\x7f\"", "é",
		strings.Repeat("k", 129), `"` + strings.Repeat("k", 129) + `"`, strings.Repeat("k", 10000),
	} {
		if got, err := effect.ParseKey([]byte(in)); !errors.Is(err, effect.ErrKey) {
			t.Errorf("%.40q is taken as %.40q, %v", in, got, err)
		}
	}
}

func TestKeyOf(t *testing.T) {
	var h fasthttp.RequestHeader
	if k, err := effect.KeyOf(&h); k != "" || err != nil {
		t.Errorf("no header: %q, %v", k, err)
	}
	h.Add("Idempotency-Key", "a")
	if k, err := effect.KeyOf(&h); k != "a" || err != nil {
		t.Errorf("one: %q, %v", k, err)
	}
	h.Add("Idempotency-Key", "a")
	if k, err := effect.KeyOf(&h); !errors.Is(err, effect.ErrKey) {
		t.Errorf("two: %q, %v", k, err)
	}
	var empty fasthttp.RequestHeader
	empty.Set("Idempotency-Key", "")
	if k, err := effect.KeyOf(&empty); !errors.Is(err, effect.ErrKey) {
		t.Errorf("an empty one: %q, %v", k, err)
	}
}

func TestFingerprint(t *testing.T) {
	sum := func(parts ...string) [32]byte {
		var f effect.Fingerprint
		for _, p := range parts {
			f.Add([]byte(p))
		}
		return f.Sum()
	}
	if sum("ab", "c") == sum("a", "bc") || sum("a") == sum("a", "") {
		t.Error("parts run into each other")
	}
	if first, again := sum("a", "b"), sum("a", "b"); first != again {
		t.Error("the same parts have two prints")
	}
}

func FuzzParseKey(f *testing.F) {
	for _, s := range []string{`"a"`, "a", `"\""`, `"a`, "a;b", "\x80"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		key, err := effect.ParseKey(b)
		if err != nil {
			return
		}
		if key == "" || len(key) > effect.MaxKey {
			t.Fatalf("%q gives a key of %d bytes", b, len(key))
		}
		for _, c := range []byte(key) {
			if c < ' ' || c > '~' {
				t.Fatalf("%q gives %q", b, key)
			}
		}
		quoted := `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(key) + `"`
		if again, err := effect.ParseKey([]byte(quoted)); err != nil || again != key {
			t.Fatalf("%q quoted is %q, %v", key, again, err)
		}
	})
}
