package roster

import (
	"bytes"
	"encoding/hex"
	"net/netip"
	"reflect"
	"testing"

	"rain/ring"
)

var (
	n1    = ring.Member{ID: 0x00010001, Inc: 7}
	links = []netip.AddrPort{netip.MustParseAddrPort("10.0.0.4:7400"), netip.MustParseAddrPort("[fd00::4]:7400")}
)

func apply(t *testing.T, r *Rider, op Op) Result {
	t.Helper()
	b := op.Append(nil)
	if got, err := ParseOp(b); err != nil || !reflect.DeepEqual(got, op) {
		t.Fatalf("op %+v is read as %+v, %v", op, got, err)
	}
	res, err := ParseResult(r.Apply(r.State().Index+1, n1, b))
	if err != nil {
		t.Fatal(err)
	}
	return res
}

func withView(ids ...ring.NodeID) *Rider {
	r := NewRider()
	v := ring.View{Number: 1}
	for _, id := range ids {
		v.Members = append(v.Members, ring.ViewMember{Member: ring.Member{ID: id, Inc: 1}, Since: 1})
	}
	r.View(1, v, 0)
	return r
}

func invite(id byte, now, expires uint64) Op {
	return Op{Kind: Invite, Invitation: InvitationID{id}, Hash: [32]byte{id, 1}, NowMS: now, ExpiresMS: expires}
}

func redeem(id byte, nonce byte, now uint64) Op {
	return Op{
		Kind: Redeem, Invitation: InvitationID{id}, Hash: [32]byte{id, 1}, Nonce: Nonce{nonce}, NowMS: now,
		ID: 0x00010002, Links: links, Admin: "http://10.0.0.4:8081",
	}
}

func TestInvitationLetsInOne(t *testing.T) {
	r := withView(0x00010001, 0x00010002)
	if res := apply(t, r, invite(1, 0, 100)); res.Refusal != 0 {
		t.Fatalf("%+v", res)
	}
	got := apply(t, r, redeem(1, 5, 99))
	if got.Refusal != 0 || got.ID != 0x00010003 {
		t.Fatalf("redeem = %+v, want id 0.1.0.3: 0.1.0.2 is a member", got)
	}
	if n, _ := r.State().Node(got.ID); n.Name != "n3" || !reflect.DeepEqual(n.Links, links) || n.Admin != "http://10.0.0.4:8081" {
		t.Errorf("the roster has %+v", n)
	}
	if again := apply(t, r, redeem(1, 5, 500)); again != got {
		t.Errorf("the same joiner again: %+v, want %+v", again, got)
	}
	if other := apply(t, r, redeem(1, 6, 99)); other.Refusal != Used {
		t.Errorf("another joiner with the same invitation: %+v", other)
	}
	if len(r.State().Nodes) != 1 {
		t.Errorf("nodes %+v", r.State().Nodes)
	}
}

func TestInvitationRefused(t *testing.T) {
	r := withView(0x00010001)
	apply(t, r, invite(1, 0, 100))
	if res := apply(t, r, redeem(1, 1, 100)); res.Refusal != Expired {
		t.Errorf("at its end: %+v", res)
	}
	wrong := redeem(1, 1, 10)
	wrong.Hash[31] ^= 1
	if res := apply(t, r, wrong); res.Refusal != NotFound {
		t.Errorf("with a wrong secret: %+v", res)
	}
	if res := apply(t, r, redeem(2, 1, 10)); res.Refusal != NotFound {
		t.Errorf("unknown: %+v", res)
	}
	if res := apply(t, r, Op{Kind: Revoke, Invitation: InvitationID{1}}); res.Refusal != 0 {
		t.Errorf("revoke: %+v", res)
	}
	if res := apply(t, r, redeem(1, 1, 10)); res.Refusal != NotFound {
		t.Errorf("revoked: %+v", res)
	}
	apply(t, r, invite(3, 200, 300))
	apply(t, r, redeem(3, 1, 250))
	if res := apply(t, r, Op{Kind: Revoke, Invitation: InvitationID{3}}); res.Refusal != Used {
		t.Errorf("revoke of a used one: %+v", res)
	}
	if len(r.State().Nodes) != 1 {
		t.Errorf("refused ops changed the nodes: %+v", r.State().Nodes)
	}
}

func TestIDsAreNeverGivenAgain(t *testing.T) {
	r := withView(0x00010001)
	apply(t, r, invite(1, 0, 100))
	first := apply(t, r, redeem(1, 1, 1)).ID
	if res := apply(t, r, Op{Kind: Forget, ID: first}); res.Refusal != 0 {
		t.Fatalf("forget: %+v", res)
	}
	apply(t, r, invite(2, 0, 100))
	second := apply(t, r, redeem(2, 2, 1))
	if second.Refusal != 0 || second.ID <= first {
		t.Errorf("after %s was forgotten: %+v", first, second)
	}
	tell := Op{Kind: Tell, ID: first, Name: "back", Links: links}
	if res := apply(t, r, tell); res.Refusal != Gone {
		t.Errorf("a forgotten node that comes back: %+v", res)
	}
	if res := apply(t, r, Op{Kind: Forget, ID: 0x00010001}); res.Refusal != Conflict {
		t.Errorf("forgetting a member: %+v", res)
	}
}

func TestNames(t *testing.T) {
	r := withView(0x00010001)
	apply(t, r, Op{Kind: Tell, ID: 0x00010001, Name: "left"})
	apply(t, r, invite(1, 0, 100))
	op := redeem(1, 1, 1)
	op.Name = "left"
	if res := apply(t, r, op); res.Refusal != NameTaken {
		t.Errorf("a name that is taken: %+v", res)
	}
	op.Name = "right"
	id := apply(t, r, op).ID
	if res := apply(t, r, Op{Kind: Tell, ID: id, Name: "left"}); res.Refusal != NameTaken {
		t.Errorf("telling a name that is taken: %+v", res)
	}
	moved := []netip.AddrPort{netip.MustParseAddrPort("10.9.9.9:7400")}
	apply(t, r, Op{Kind: Tell, ID: id, Name: "right", Links: moved})
	if n, _ := r.State().Node(id); !reflect.DeepEqual(n.Links, moved) {
		t.Errorf("new addresses: %+v", n)
	}
}

func TestSnapshot(t *testing.T) {
	r := withView(0x00010001)
	apply(t, r, invite(1, 0, 100))
	apply(t, r, invite(2, 0, 100))
	apply(t, r, Op{Kind: Forget, ID: apply(t, r, redeem(1, 3, 1)).ID})
	apply(t, r, Op{Kind: Tell, ID: 0x00010001, Name: "n1", Links: links, Admin: "http://x"})
	apply(t, r, Op{Kind: ChangeKey, Key: KeyPin{1, 2}})
	var b bytes.Buffer
	if err := r.Snapshot(&b); err != nil {
		t.Fatal(err)
	}
	copied := NewRider()
	if err := copied.Restore(bytes.NewReader(b.Bytes())); err != nil {
		t.Fatal(err)
	}
	a, c := r.State(), copied.State()
	if !reflect.DeepEqual(a.Nodes, c.Nodes) || !reflect.DeepEqual(a.Invitations, c.Invitations) || a.Key != c.Key {
		t.Errorf("restored\n%+v\nfrom\n%+v", c, a)
	}
	var again bytes.Buffer
	if err := copied.Snapshot(&again); err != nil || !bytes.Equal(again.Bytes(), b.Bytes()) {
		t.Errorf("a snapshot of the restored differs: %v", err)
	}
}

// The bytes of version 1 must never change.
func TestGolden(t *testing.T) {
	for _, g := range []struct {
		op   Op
		want string
	}{
		{invite(1, 2, 3), "0101" + "0100000000000000" + "0101" + zeros(30) + "0000000000000002" + "0000000000000003" + "00"},
		{Op{Kind: Revoke, Invitation: InvitationID{9}}, "0102" + "0900000000000000"},
		{Op{Kind: Tell, ID: 0x00010004, Name: "n4", Links: links, Admin: "u"}, "0104" + "00010004" + "026e34" + "02" +
			"040a0000041ce8" + "10fd0000000000000000000000000000041ce8" + "0175"},
		{Op{Kind: Forget, ID: 5}, "0105" + "00000005"},
		{Op{Kind: ChangeKey, Key: KeyPin{1, 2}}, "0106" + "0102000000000000"},
	} {
		if got := hex.EncodeToString(g.op.Append(nil)); got != g.want {
			t.Errorf("op %d\n got %s\nwant %s", g.op.Kind, got, g.want)
		}
	}
}

func zeros(n int) string { return hex.EncodeToString(make([]byte, n)) }

func FuzzParseOp(f *testing.F) {
	for _, op := range []Op{invite(1, 2, 3), redeem(1, 2, 3), {Kind: Revoke}, {Kind: Tell, ID: 1, Name: "a", Links: links}, {Kind: Forget, ID: 3}, {Kind: ChangeKey, Key: KeyPin{9}}} {
		f.Add(op.Append(nil))
	}
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

func FuzzSnapshot(f *testing.F) {
	var b bytes.Buffer
	r := withView(1)
	r.Apply(2, n1, invite(1, 0, 100).Append(nil))
	r.Apply(3, n1, redeem(1, 1, 1).Append(nil))
	if err := r.Snapshot(&b); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
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
