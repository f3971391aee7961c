package ring

import (
	"bytes"
	"reflect"
	"testing"
	"time"
)

func sampleView() View {
	return View{Number: 7, Members: []ViewMember{
		{Member{0x00010001, 5}, 1}, {Member{0x00010002, 9}, 3}, {Member{0x00010003, 2}, 7},
	}}
}

func sampleMessages() []Message {
	a, b := Member{0x00010001, 5}, Member{0x00010002, 9}
	e := MakeEpoch(2, 3)
	change := encodeViewChange(ViewChange{View: sampleView(), Wait: 112 * time.Millisecond, Kind: CauseFailed, Who: []Member{b}})
	return []Message{
		&Token{
			Epoch: e, Seq: 99, Base: 10, Commit: 11, Stable: 10, Ring: []Member{a, b},
			Suspects: []Suspect{{b, 4, a, true, 7}}, Acks: []Ack{{a, 12, 11, 98}}, Rows: []Row{{a, []byte("row")}},
			Ops: []Entry{{From: a, N: 1, Rider: RiderVIP, Data: []byte("op")}, {From: b, N: 7, Rider: RiderViews, Data: change}},
		},
		Call{Epoch: e, Copy: Stamp{e, 4}, Settled: 6, Probe: true},
		Grant{Epoch: e, Probe: true, Age: time.Second},
		Deny{Epoch: e, Promised: e + 1, Copy: Stamp{e, 5}},
		Out{View: sampleView()},
		Refused{Token: Stamp{e, 1}, Promised: e + 2, Copy: Stamp{e, 9}},
		Seek{Generation: 2, Index: 3, DiskEpoch: e, DiskLast: 4, Promise: e, Founder: true, Lease: 100 * time.Millisecond},
		Welcome{Copy: Stamp{e, 2}, View: 7, Lease: 100 * time.Millisecond, Above: 12},
		ColdCall{Epoch: e, DiskEpoch: e, DiskLast: 8},
		ColdGrant{Epoch: e},
		ColdDeny{Epoch: e, Promise: e, DiskEpoch: e, DiskLast: 8},
		ColdMade{Epoch: e},
		Hurry{Epoch: e},
	}
}

func TestMessagesComeBackEqual(t *testing.T) {
	for _, m := range sampleMessages() {
		b := AppendMessage(nil, m)
		got, err := ParseMessage(b)
		if err != nil {
			t.Fatalf("%T: %v", m, err)
		}
		if !reflect.DeepEqual(got, m) {
			t.Errorf("%T: sent %+v, got %+v", m, m, got)
		}
		for i := range b { // every cut is refused
			if _, err := ParseMessage(b[:i]); err == nil {
				t.Errorf("%T: cut at %d of %d was accepted", m, i, len(b))
			}
		}
		if _, err := ParseMessage(append(b, 0)); err == nil {
			t.Errorf("%T: a byte too much was accepted", m)
		}
	}
}

func TestParserRefusesLies(t *testing.T) {
	token := func(edit func(*Token)) []byte {
		tok := *sampleMessages()[0].(*Token)
		edit(&tok)
		return AppendMessage(nil, &tok)
	}
	for name, b := range map[string][]byte{
		"other version":       append([]byte{9}, AppendMessage(nil, Hurry{1})[1:]...),
		"unknown kind":        {WireVersion, 200},
		"commit above ops":    token(func(t *Token) { t.Commit = 13 }),
		"stable above commit": token(func(t *Token) { t.Stable = 12 }),
		"huge base":           token(func(t *Token) { t.Base = 1 << 63 }),
		"members unsorted":    AppendMessage(nil, Out{View{Members: []ViewMember{{Member{2, 1}, 1}, {Member{1, 1}, 1}}}}),
		"long age":            AppendMessage(nil, Grant{Age: 48 * time.Hour}),
	} {
		if m, err := ParseMessage(b); err == nil {
			t.Errorf("%s: accepted as %+v", name, m)
		}
	}
}

func FuzzParseMessage(f *testing.F) {
	for _, m := range sampleMessages() {
		f.Add(AppendMessage(nil, m))
		f.Add(AppendMessageAs(nil, m, WireOldest))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := ParseMessage(b)
		if err != nil {
			return
		}
		if got := AppendMessageAs(nil, m, int(b[0])); !bytes.Equal(got, b) {
			t.Fatalf("accepted %x, writes it back as %x", b, got)
		}
	})
}

func FuzzParseViewChange(f *testing.F) {
	f.Add(encodeViewChange(ViewChange{View: sampleView(), Wait: 5, Cold: true, Kind: CauseCold, Who: []Member{{1, 1}}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := ParseViewChange(b)
		if err != nil {
			return
		}
		if got := encodeViewChange(c); !bytes.Equal(got, b) {
			t.Fatalf("accepted %x, writes it back as %x", b, got)
		}
	})
}

func FuzzParseHeader(f *testing.F) {
	f.Add(AppendHeader(nil, SnapshotHeader{Stamp: Stamp{1, 2}, Index: 9, Stable: 8, Views: []IndexedView{{3, true, sampleView()}}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := ParseHeader(b)
		if err != nil {
			return
		}
		if got := AppendHeader(nil, h); !bytes.Equal(got, b) {
			t.Fatalf("accepted %x, writes it back as %x", b, got)
		}
	})
}

func FuzzParseEntry(f *testing.F) {
	f.Add(AppendEntry(nil, Entry{From: Member{1, 2}, N: 3, Rider: RiderCatalog, Data: []byte("x")}))
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := ParseEntry(b)
		if err != nil {
			return
		}
		if got := AppendEntry(nil, e); !bytes.Equal(got, b) {
			t.Fatalf("accepted %x, writes it back as %x", b, got)
		}
	})
}
