package admin

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"
)

// fakeMembership writes down what it was asked.
type fakeMembership struct{ calls []string }

func (f *fakeMembership) note(format string, args ...any) {
	f.calls = append(f.calls, fmt.Sprintf(format, args...))
}

func (f *fakeMembership) Invite(_ context.Context, o InviteOrder) (Invited, error) {
	if o.ValidS > 1000 {
		return Invited{}, fmt.Errorf("fake: %w", ErrBadInput)
	}
	f.note("invite %s %d", o.Name, o.ValidS)
	return Invited{ID: "ab", Token: "rain1-x", Expires: time.Unix(1, 0)}, nil
}

func (f *fakeMembership) Invitations() []Invitation { return nil }

func (f *fakeMembership) Revoke(_ context.Context, id string) error {
	if id == "no" {
		return fmt.Errorf("fake: %w", ErrNotFound)
	}
	f.note("revoke %s", id)
	return nil
}

func (f *fakeMembership) Leave(node string) error {
	if node != "n1" {
		return fmt.Errorf("fake: %w", ErrWrongNode)
	}
	f.note("leave")
	return nil
}

func (f *fakeMembership) Forget(_ context.Context, node string) error {
	f.note("forget %s", node)
	return nil
}

func (f *fakeMembership) Keys(context.Context) (KeyAnswer, error) { return KeyAnswer{Pin: "aa"}, nil }

func (f *fakeMembership) ChangeKey(_ context.Context, without []string) (KeyAnswer, error) {
	f.note("key %v", without)
	return KeyAnswer{Pin: "bb"}, nil
}

func (f *fakeMembership) Quorum() QuorumAnswer { return QuorumAnswer{Text: "any one may die"} }

func (f *fakeMembership) Bootstrap(_ context.Context, force bool) error {
	if !force {
		return fmt.Errorf("fake: %w", ErrConflict)
	}
	f.note("bootstrap")
	return nil
}

// fakeSettings has one setting.
type fakeSettings struct{ value string }

func (f *fakeSettings) List() []Setting { return []Setting{{Key: "detection", Value: f.value}} }

func (f *fakeSettings) Set(_ context.Context, key, value string) error {
	if key != "detection" {
		return fmt.Errorf("fake: %w", ErrNotFound)
	}
	f.value = value
	return nil
}

func (f *fakeSettings) Unset(context.Context, string) error { f.value = ""; return nil }

func TestMembership(t *testing.T) {
	r := newRig(t, nil)
	for _, c := range []struct {
		method, path, body string
		status             int
		has                string
	}{
		{"POST", "invitations", `{"name":"n4","valid_s":60}`, 201, `"token":"rain1-x"`},
		{"POST", "invitations", `{"valid_s":5000}`, 422, `bad_input`},
		{"POST", "invitations", `{`, 422, `bad_input`},
		{"GET", "invitations", "", 200, `"invitations":[]`},
		{"PUT", "invitations", "", 405, ``},
		{"DELETE", "invitations/ab", "", 204, ``},
		{"DELETE", "invitations/no", "", 404, `not_found`},
		{"GET", "invitations/ab/c", "", 404, ``},
		{"POST", "nodes/n1/leave", "", 200, `leave n1`},
		{"POST", "nodes/n2/leave", "", 421, `wrong_node`},
		{"POST", "nodes/n2/forget", "", 200, ``},
		{"GET", "nodes/n2/forget", "", 405, ``},
		{"GET", "key", "", 200, `"pin":"aa"`},
		{"POST", "key", `{"without":["n3"]}`, 200, `"pin":"bb"`},
		{"GET", "ring/quorum", "", 200, `any one may die`},
		{"POST", "ring/quorum", "", 405, ``},
		{"POST", "ring/bootstrap", "", 409, `conflict`},
		{"POST", "ring/bootstrap", `{"force":true}`, 200, `bootstrap`},
		{"GET", "ring/other", "", 404, ``},
		{"GET", "settings", "", 200, `"value":"conservative"`},
		{"PUT", "settings/detection", `{"value":"aggressive"}`, 200, ``},
		{"GET", "settings", "", 200, `"value":"aggressive"`},
		{"PUT", "settings/colour", `{"value":"blue"}`, 404, ``},
		{"DELETE", "settings/detection", "", 200, ``},
	} {
		if _, got := r.want(c.status, c.method, "/api/v1/"+c.path, c.body); !strings.Contains(got, c.has) {
			t.Errorf("%s %s %s: %s does not say %q", c.method, c.path, c.body, got, c.has)
		}
	}
	want := "invite n4 60; revoke ab; leave; forget n2; key [n3]; bootstrap"
	if got := strings.Join(r.membership.calls, "; "); got != want {
		t.Errorf("what was done: %s; want %s", got, want)
	}
}
