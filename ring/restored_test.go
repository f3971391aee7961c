package ring

import "testing"

// Rider: "A View with the restored view follows" a Restore, also one from the
// disk: what is in the log above the snapshot was decided in that view.
func TestDiskSnapshotTellsItsView(t *testing.T) {
	timing, ok := Preset("lan")
	if !ok {
		t.Fatal("no preset lan")
	}
	old := Member{ID: 1, Inc: 5}
	view := View{Number: 3, Members: []ViewMember{{Member: old, Since: 1}, {Member: Member{ID: 2, Inc: 6}, Since: 1}}}
	m := New(Config{
		Me: Member{ID: 1, Inc: 9}, Founders: []NodeID{1, 2}, Peers: []NodeID{2}, Timing: timing, Seed: 1,
		Disk: Disk{
			Stamp: Stamp{Epoch: MakeEpoch(1, 4), Seq: 8}, Stable: 12,
			Header:  SnapshotHeader{Stamp: Stamp{Epoch: MakeEpoch(1, 4), Seq: 7}, Index: 11, Stable: 11, Views: []IndexedView{{Index: 4, View: view}}},
			Entries: []Entry{{From: old, N: 1, Rider: RiderCatalog, Data: []byte("op")}},
		},
	})
	const now = Instant(1000)
	got := m.Step(now, Start{}).Deliver
	if len(got) != 2 {
		t.Fatalf("%d deliveries, want the view and the op: %+v", len(got), got)
	}
	v := got[0]
	if v.Rider != RiderViews || v.Index != 11 || v.View.String() != view.String() || v.FreeAt != now.Add(timing.Wait()) {
		t.Errorf("first %+v, want the view of the snapshot at its index, and the whole wait", v)
	}
	if op := got[1]; op.Index != 12 || op.Rider != RiderCatalog || op.From != old {
		t.Errorf("then %+v, want the op at 12", op)
	}
}
