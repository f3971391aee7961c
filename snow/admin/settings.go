package admin

import (
	"context"
	"log/slog"
	"net/http"
	"time"
)

// Settings are what all nodes have in common and may change while they run.
type Settings interface {
	List() []Setting
	Set(ctx context.Context, key, value string) error
	Unset(ctx context.Context, key string) error
}

// Setting is one of them. File is what the answering node's file says.
type Setting struct {
	Key   string    `json:"key"`
	Value string    `json:"value"`
	File  string    `json:"file"`
	By    string    `json:"by,omitempty"`
	Since time.Time `json:"since,omitzero"`
}

// SettingsAnswer is the answer of GET /api/v1/settings.
type SettingsAnswer struct {
	API      int       `json:"api"`
	Node     string    `json:"node"`
	Settings []Setting `json:"settings"`
}

// SettingOrder is the body of PUT /api/v1/settings/KEY.
type SettingOrder struct {
	Value string `json:"value"`
}

func (c *call) settings() error {
	s := c.s.deps.Settings
	if s == nil || len(c.path) > 2 {
		return noSuchPath(string(c.Path()))
	}
	if len(c.path) == 1 {
		if err := c.allow("GET"); err != nil {
			return err
		}
		a := SettingsAnswer{API: API, Node: c.s.cfg.Node, Settings: s.List()}
		notNil(&a.Settings)
		sendJSON(c.RequestCtx, http.StatusOK, a)
		return nil
	}
	if err := c.allow("PUT", "DELETE"); err != nil {
		return err
	}
	ctx, cancel := c.s.opContext()
	defer cancel()
	key := c.path[1]
	var o SettingOrder
	var err error
	if c.method == "DELETE" {
		err = s.Unset(ctx, key)
	} else if err = c.json(&o); err == nil {
		err = s.Set(ctx, key, o.Value)
	}
	if err != nil {
		return err
	}
	c.s.log.Info("operator's order", slog.String("what", "set"), slog.String("key", key), slog.String("value", o.Value))
	sendJSON(c.RequestCtx, http.StatusOK, done{API, "set " + key})
	return nil
}
