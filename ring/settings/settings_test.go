package settings

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"reflect"
	"testing"

	"rain/ring"
)

var from = ring.Member{ID: 7, Inc: 1}

func apply(t *testing.T, r *Rider, op Op) string {
	t.Helper()
	b := op.Append(nil)
	if got, err := ParseOp(b); err != nil || got != op {
		t.Fatalf("%+v is read as %+v, %v", op, got, err)
	}
	return string(r.Apply(1, from, b))
}

func TestSetting(t *testing.T) {
	r := NewRider()
	changed := r.State().Changed()
	if why := apply(t, r, Op{Found, "detection", "conservative", 5}); why != "" {
		t.Error(why)
	}
	select {
	case <-changed:
	default:
		t.Error("nobody was told")
	}
	if why := apply(t, r, Op{Found, "detection", "aggressive", 6}); why == "" {
		t.Error("the second file won")
	}
	if s, _ := r.State().Get("detection"); s != (Setting{"detection", "conservative", 5, 7}) {
		t.Errorf("%+v", s)
	}
	apply(t, r, Op{Set, "detection", "aggressive", 7})
	if s, _ := r.State().Get("detection"); s.Value != "aggressive" {
		t.Errorf("%+v", s)
	}
	apply(t, r, Op{Kind: Unset, Key: "detection"})
	if _, ok := r.State().Get("detection"); ok {
		t.Error("it is still there")
	}
	if why := apply(t, r, Op{Kind: Unset, Key: "detection"}); why == "" {
		t.Error("what is not there was taken away")
	}
}

func TestBounds(t *testing.T) {
	r := NewRider()
	for i := range MaxKeys {
		apply(t, r, Op{Set, fmt.Sprintf("k%02d", i), "v", 1})
	}
	if why := apply(t, r, Op{Set, "one more", "v", 1}); why == "" || len(r.State().List) != MaxKeys {
		t.Errorf("%d settings, %q", len(r.State().List), why)
	}
	if why := apply(t, r, Op{Set, "k05", "w", 1}); why != "" {
		t.Errorf("a full list refuses a change: %s", why)
	}
}

func TestGolden(t *testing.T) {
	if got := hex.EncodeToString(Op{Set, "k", "vw", 9}.Append(nil)); got != "0101"+"016b"+"00027677"+"0000000000000009" {
		t.Errorf("version 1 is written as %s", got)
	}
}

func TestSnapshot(t *testing.T) {
	a, b := NewRider(), NewRider()
	apply(t, a, Op{Set, "x", "1", 1})
	apply(t, a, Op{Set, "b", "", 2})
	var buf bytes.Buffer
	if err := a.Snapshot(&buf); err != nil {
		t.Fatal(err)
	}
	if err := b.Restore(bytes.NewReader(buf.Bytes())); err != nil || !reflect.DeepEqual(a.State().List, b.State().List) {
		t.Errorf("%+v, %v; want %+v", b.State().List, err, a.State().List)
	}
}

func FuzzSnapshot(f *testing.F) {
	r := NewRider()
	r.Apply(1, from, Op{Set, "x", "1", 1}.Append(nil))
	var buf bytes.Buffer
	if err := r.Snapshot(&buf); err != nil {
		f.Fatal(err)
	}
	f.Add(buf.Bytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		r := NewRider()
		if r.Restore(bytes.NewReader(b)) != nil {
			return
		}
		var again bytes.Buffer
		if err := r.Snapshot(&again); err != nil || !bytes.Equal(again.Bytes(), b) {
			t.Fatalf("accepted %x, writes it back as %x (%v)", b, again.Bytes(), err)
		}
	})
}

func FuzzParseOp(f *testing.F) {
	f.Add(Op{Set, "k", "v", 1}.Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		op, err := ParseOp(b)
		if err != nil {
			return
		}
		if got := op.Append(nil); !bytes.Equal(got, b) {
			t.Fatalf("accepted %x, writes it back as %x", b, got)
		}
	})
}
