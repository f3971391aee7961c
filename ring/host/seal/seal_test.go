package seal

import (
	"bytes"
	"encoding/hex"
	"errors"
	"math/rand/v2"
	"testing"

	"rain/ring"
)

var (
	alice = ring.Member{ID: 0x00010001, Inc: 5}
	bob   = ring.Member{ID: 0x00010002, Inc: 9}
)

func testKey(b byte) []byte { return bytes.Repeat([]byte{b}, KeySize) }

func testRing(t testing.TB, keys ...[]byte) *Keyring {
	t.Helper()
	k, err := NewKeyring(keys...)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// The bytes on the wire must never change under one version number.
func TestGolden(t *testing.T) {
	k := testRing(t, testKey(7))
	s := k.session(alice, bob, [saltSize]byte{1, 2, 3})
	s.Seal(nil, nil)
	const wantData = "01010000000100010000000000000005000100020000000000000009010203000000000000000000000000000000000000000002" + goldenData
	if got := hex.EncodeToString(s.Seal(nil, []byte("rain"))); got != wantData {
		t.Errorf("sealed datagram\n got %s\nwant %s", got, wantData)
	}
	const wantHello = "01020000090807000000000000000000000000000000000000000000" + goldenHello
	h := Hello{From: alice, To: bob.ID, Known: 4}
	if got := hex.EncodeToString(k.sealHello(nil, h, [nonceSize]byte{9, 8, 7})); got != wantHello {
		t.Errorf("hello\n got %s\nwant %s", got, wantHello)
	}
}

func TestOpen(t *testing.T) {
	k := testRing(t, testKey(1))
	a, b := k.Session(alice, bob), k.Session(bob, alice)
	var sealed [][]byte
	for i := range 5 {
		sealed = append(sealed, a.Seal(nil, []byte{byte(i)}))
	}
	for _, i := range []int{4, 0, 2, 1, 3} {
		got, err := b.Open(nil, sealed[i])
		if err != nil || !bytes.Equal(got, []byte{byte(i)}) {
			t.Errorf("datagram %d: %x, %v", i, got, err)
		}
	}
	for i := range sealed {
		if _, err := b.Open(nil, sealed[i]); !errors.Is(err, ErrReplay) {
			t.Errorf("datagram %d again: %v, want ErrReplay", i, err)
		}
	}
	if _, err := a.Open(nil, a.Seal(nil, nil)); !errors.Is(err, ErrAddress) {
		t.Errorf("own datagram sent back: %v, want ErrAddress", err)
	}
	whole := a.Seal(nil, []byte("body"))
	for i := range whole {
		bad := bytes.Clone(whole)
		bad[i] ^= 1
		if _, err := b.Open(nil, bad); err == nil {
			t.Errorf("accepted with byte %d changed", i)
		}
		if _, err := b.Open(nil, whole[:i]); err == nil {
			t.Errorf("accepted when cut to %d bytes", i)
		}
	}
	if got, err := b.Open(nil, whole); err != nil || string(got) != "body" {
		t.Errorf("forgeries spoiled the session: %q, %v", got, err)
	}
}

func TestOtherIncarnationOtherKeyOtherSalt(t *testing.T) {
	k := testRing(t, testKey(1))
	a, b := k.Session(alice, bob), k.Session(bob, alice)
	next := alice
	next.Inc++
	if _, err := b.Open(nil, k.Session(next, bob).Seal(nil, nil)); !errors.Is(err, ErrAddress) {
		t.Errorf("next incarnation: %v, want ErrAddress", err)
	}
	if _, err := b.Open(nil, testRing(t, testKey(2)).Session(alice, bob).Seal(nil, nil)); !errors.Is(err, ErrKey) {
		t.Errorf("other key: %v, want ErrKey", err)
	}
	if _, err := b.Open(nil, a.Seal(nil, nil)); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Open(nil, k.Session(alice, bob).Seal(nil, nil)); !errors.Is(err, ErrReplay) {
		t.Errorf("second session of the same incarnations: %v, want ErrReplay", err)
	}
}

func TestKeyChange(t *testing.T) {
	older, newer := testRing(t, testKey(1)), testRing(t, testKey(2), testKey(1))
	h := Hello{From: alice, To: bob.ID, Known: 3}
	if got, err := newer.OpenHello(older.SealHello(nil, h)); err != nil || got != h {
		t.Errorf("hello under the old key: %v, %v", got, err)
	}
	if _, err := older.OpenHello(newer.SealHello(nil, h)); !errors.Is(err, ErrKey) {
		t.Errorf("hello under the new key at a node without it: %v, want ErrKey", err)
	}
	if got, err := newer.Session(bob, alice).Open(nil, older.Session(alice, bob).Seal(nil, []byte("x"))); err != nil || string(got) != "x" {
		t.Errorf("datagram under the old key: %q, %v", got, err)
	}
	if _, err := NewKeyring([]byte("short")); err == nil {
		t.Error("a short key was accepted")
	}
	if _, err := NewKeyring(); err == nil {
		t.Error("no key was accepted")
	}
}

// Two ends change the key in the three steps of a cluster; nothing is lost, and
// nothing of before is taken again.
func TestKeyChangeInASession(t *testing.T) {
	older, newer := testKey(1), testKey(2)
	rings := []*Keyring{testRing(t, older), testRing(t, older, newer), testRing(t, newer, older), testRing(t, newer)}
	a, b := rings[0].Session(alice, bob), rings[0].Session(bob, alice)
	var past [][]byte
	pass := func(step string, from, to *Session) {
		t.Helper()
		d := from.Seal(nil, []byte(step))
		if got, err := to.Open(nil, d); err != nil || string(got) != step {
			t.Fatalf("%s: %q, %v", step, got, err)
		}
		if to == b {
			past = append(past, d)
		}
	}
	for _, k := range rings {
		a.SetKeys(k) // a is one step ahead of b
		pass("ahead", a, b)
		pass("behind", b, a)
		b.SetKeys(k)
		pass("level", a, b)
	}
	for i, d := range past {
		if _, err := b.Open(nil, d); !errors.Is(err, ErrReplay) {
			t.Errorf("datagram %d again: %v, want ErrReplay", i, err)
		}
	}
	if _, err := b.Open(nil, testRing(t, older).session(alice, bob, a.salt()).Seal(nil, nil)); err == nil {
		t.Error("the old key still opens after the change")
	}
}

func (s *Session) salt() (out [saltSize]byte) {
	copy(out[:], s.header[headerSize-nonceSize:])
	return out
}

func TestHelloForged(t *testing.T) {
	k := testRing(t, testKey(1))
	good := k.SealHello(nil, Hello{From: alice, To: bob.ID})
	for i := range good {
		bad := bytes.Clone(good)
		bad[i] ^= 0x80
		if _, err := k.OpenHello(bad); err == nil {
			t.Errorf("accepted with byte %d changed", i)
		}
	}
}

// The window against a plain set.
func TestWindowAgainstTwin(t *testing.T) {
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 0))
		var w window
		seen := map[uint64]bool{}
		top := uint64(0)
		for range 5000 {
			n := top + rng.Uint64N(200)
			switch rng.IntN(4) {
			case 0:
				n += rng.Uint64N(3000)
			case 1, 2:
				n -= min(n, rng.Uint64N(1500))
			}
			want := n > 0 && !seen[n] && n+ReplayWindow > top
			if got := w.fresh(n); got != want {
				t.Fatalf("seed %d: fresh(%d) = %v with top %d, want %v", seed, n, got, top, want)
			}
			if want {
				w.note(n)
				seen[n] = true
				top = max(top, n)
			}
		}
	}
}

func FuzzOpen(f *testing.F) {
	k := testRing(f, testKey(1))
	honest := k.session(alice, bob, [saltSize]byte{1})
	good := honest.Seal(nil, []byte("rain"))
	hello := k.sealHello(nil, Hello{From: alice, To: bob.ID, Known: 4}, [nonceSize]byte{})
	f.Add(good)
	f.Add(hello)
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		s := k.session(bob, alice, [saltSize]byte{})
		if _, err := s.Open(nil, b); err == nil && !bytes.Equal(b, good) {
			t.Fatalf("a forgery was opened: %x", b)
		}
		if _, err := s.Open(nil, b); err == nil {
			t.Fatalf("opened twice: %x", b)
		}
		if _, err := k.OpenHello(b); err == nil && !bytes.Equal(b, hello) {
			t.Fatalf("a forged hello was opened: %x", b)
		}
	})
}

func BenchmarkSealOpen(b *testing.B) {
	k := testRing(b, testKey(1))
	x, y := k.Session(alice, bob), k.Session(bob, alice)
	body := make([]byte, 1200)
	var buf, out []byte
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		buf = x.Seal(buf[:0], body)
		var err error
		if out, err = y.Open(out[:0], buf); err != nil {
			b.Fatal(err)
		}
	}
}

const (
	goldenData  = "8e06eecdd3266a47708ad3195367fdb398a9c149"
	goldenHello = "6bef36cbb5fc7a818db156ccd9cbb5b866969732d2a90da4124a9d4e5659533044f0c574bfeede69"
)
