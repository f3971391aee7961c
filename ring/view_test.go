package ring

import "testing"

// TestQuorumTable tries every subset of views of up to 6 members against the
// rule told plainly.
func TestQuorumTable(t *testing.T) {
	for n := 1; n <= 6; n++ {
		v := View{Number: 1}
		for i := range n {
			// The highest id is the longest in the view.
			v.Members = append(v.Members, ViewMember{Member{NodeID(i + 1), 1}, uint64(n - i)})
		}
		distinguished := Member{NodeID(n), 1}
		if d := v.Distinguished(); d != distinguished {
			t.Fatalf("n=%d: distinguished %s, want %s", n, d, distinguished)
		}
		for set := range 1 << n {
			count := 0
			in := func(m Member) bool { return set>>(m.ID-1)&1 == 1 }
			for i := range n {
				count += set >> i & 1
			}
			want := 2*count > n || 2*count == n && in(distinguished)
			if got := v.Quorum(in); got != want {
				t.Errorf("n=%d set=%b: quorum %v, want %v", n, set, got, want)
			}
			// No two disjoint sets are both quorums.
			if v.Quorum(in) && v.Quorum(func(m Member) bool { return !in(m) }) {
				t.Errorf("n=%d set=%b: it and its rest are both quorums", n, set)
			}
		}
	}
}

func TestDistinguishedLowestIDAmongEquals(t *testing.T) {
	v := View{Members: []ViewMember{{Member{3, 1}, 2}, {Member{5, 1}, 2}, {Member{9, 1}, 4}}}
	if d := v.Distinguished(); d != (Member{3, 1}) {
		t.Errorf("distinguished %s, want 0.0.0.3/1", d)
	}
}

func TestNextView(t *testing.T) {
	v := sampleView()
	gone := Member{0x00010002, 9}
	w := v.next(func(m Member) bool { return m == gone }, Member{0x00010004, 1}, Member{0x00010003, 3})
	if w.Number != 8 || len(w.Members) != 3 || w.Has(gone) || w.Has(Member{0x00010003, 2}) {
		t.Fatalf("next view is %s", w)
	}
	if m, ok := w.ByID(0x00010003); !ok || m.Inc != 3 || m.Since != 8 {
		t.Errorf("the newer incarnation is %+v, %v", m, ok)
	}
	if m, _ := w.ByID(0x00010001); m.Since != 1 {
		t.Errorf("who stays keeps its time: %+v", m)
	}
}

func TestInForce(t *testing.T) {
	iv := func(index uint64, cold bool) IndexedView { return IndexedView{Index: index, Cold: cold} }
	for _, c := range []struct {
		name   string
		views  []IndexedView
		stable uint64
		want   []uint64
	}{
		{"none", nil, 0, nil},
		{"settled alone", []IndexedView{iv(1, false), iv(5, false)}, 5, []uint64{5}},
		{"pending beside settled", []IndexedView{iv(1, false), iv(5, false), iv(9, false)}, 5, []uint64{5, 9}},
		{"old stable: all but the last two are settled", []IndexedView{iv(1, false), iv(5, false), iv(9, false)}, 0, []uint64{5, 9}},
		{"unsettled cold stands alone", []IndexedView{iv(1, false), iv(5, true)}, 4, []uint64{5}},
		{"settled cold", []IndexedView{iv(1, false), iv(5, true), iv(9, false)}, 5, []uint64{5, 9}},
	} {
		got := inForce(c.views, c.stable)
		if len(got) != len(c.want) {
			t.Errorf("%s: %v", c.name, got)
			continue
		}
		for i := range got {
			if got[i].Index != c.want[i] {
				t.Errorf("%s: %v, want %v", c.name, got, c.want)
			}
		}
	}
}

func TestPresetsAreValid(t *testing.T) {
	for _, name := range PresetNames() {
		p, ok := Preset(name)
		if !ok {
			t.Fatalf("no preset %s", name)
		}
		if err := p.Validate(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		p.Lease = 0
		if err := p.Validate(); err == nil {
			t.Errorf("%s: a lease of 0 is accepted", name)
		}
	}
}

func TestNodeID(t *testing.T) {
	for _, s := range []string{"0.1.0.1", "255.255.255.255"} {
		id, err := ParseNodeID(s)
		if err != nil || id.String() != s {
			t.Errorf("%s: %v %v", s, id, err)
		}
	}
	for _, s := range []string{"", "1.2.3", "1.2.3.4.5", "0.0.0.0", "1.2.3.256", "a.b.c.d", "-1.0.0.1"} {
		if id, err := ParseNodeID(s); err == nil {
			t.Errorf("%q is accepted as %v", s, id)
		}
	}
}
