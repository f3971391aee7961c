package ring

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"
)

// asVersion is what a reader of that version gets of a message.
func asVersion(m Message, version int) Message {
	if version >= 2 {
		return m
	}
	switch m := m.(type) {
	case *Token:
		c := *m
		c.Suspects = nil
		for _, s := range m.Suspects {
			if s.Sure {
				c.Suspects = append(c.Suspects, Suspect{Member: s.Member, Seq: s.Seq, Sure: true, SureAt: s.Seq})
			}
		}
		return &c
	case Grant:
		m.Silent = nil
		return m
	}
	return m
}

// Every format of each version, as bytes that a released program wrote. They must
// be read for as long as the version is spoken, and written the same: a change
// here is a new version, with a golden file of its own beside these.
//
// WRITE=1 go test ./ring -run TestGoldenBytes writes a file that is missing; it
// never writes over one.
func TestGoldenBytes(t *testing.T) {
	for version := WireOldest; version <= WireVersion; version++ {
		t.Run(fmt.Sprint(version), func(t *testing.T) { goldenBytes(t, version) })
	}
}

func goldenBytes(t *testing.T, version int) {
	path := fmt.Sprintf("testdata/wire_v%d.txt", version)
	type sample struct {
		name  string
		bytes []byte
		read  func([]byte) (any, error)
		value any
	}
	var samples []sample
	for _, m := range sampleMessages() {
		samples = append(samples, sample{fmt.Sprintf("message %d %T", m.kind(), m), AppendMessageAs(nil, m, version), func(b []byte) (any, error) { return ParseMessage(b) }, asVersion(m, version)})
	}
	header := SnapshotHeader{Stamp: Stamp{MakeEpoch(2, 3), 99}, Index: 12, Stable: 11, Views: []IndexedView{{Index: 9, View: sampleView()}, {Index: 12, Cold: true, View: sampleView()}}}
	entry := Entry{From: Member{0x00010001, 5}, N: 77, Rider: RiderCatalog, Data: []byte("op")}
	change := ViewChange{View: sampleView(), Wait: 112 * time.Millisecond, Cold: true, Kind: CauseCold, Who: []Member{{0x00010002, 9}}}
	samples = append(samples,
		sample{"snapshot header", AppendHeader(nil, header), func(b []byte) (any, error) { return ParseHeader(b) }, header},
		sample{"entry", AppendEntry(nil, entry), func(b []byte) (any, error) { return ParseEntry(b) }, entry},
		sample{"view change", encodeViewChange(change), func(b []byte) (any, error) { return ParseViewChange(b) }, change},
	)
	var now strings.Builder
	for _, s := range samples {
		fmt.Fprintf(&now, "%s: %s\n", s.name, hex.EncodeToString(s.bytes))
	}
	golden, err := os.ReadFile(path)
	if os.IsNotExist(err) && os.Getenv("WRITE") != "" {
		golden = []byte(now.String())
		err = os.WriteFile(path, golden, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(golden)), "\n")
	if len(lines) != len(samples) {
		t.Fatalf("%d golden lines, %d formats", len(lines), len(samples))
	}
	for i, s := range samples {
		name, text, _ := strings.Cut(lines[i], ": ")
		b, err := hex.DecodeString(text)
		if err != nil || name != s.name {
			t.Fatalf("line %d is %q, want %q (%v)", i+1, name, s.name, err)
		}
		got, err := s.read(b)
		if err != nil || !reflect.DeepEqual(got, s.value) {
			t.Errorf("%s of version %d is read as %+v, %v", s.name, version, got, err)
		}
		if !bytes.Equal(b, s.bytes) {
			t.Errorf("%s is written as\n%x, version %d is\n%x", s.name, s.bytes, version, b)
		}
	}
}
