package labtest

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"rain/demos/lab/engine"
	"rain/snow/admin"
)

// doors ask the nodes from inside their hosts, over connections that stay open.
type doors struct {
	mu     sync.Mutex
	byHost map[string]*http.Client
}

// door is a client of the node in a host.
func (l *lab) door(host string) (*http.Client, error) {
	l.doors.mu.Lock()
	defer l.doors.mu.Unlock()
	if c := l.doors.byHost[host]; c != nil {
		return c, nil
	}
	c, err := engine.NewDoor(l.dir, host, 5*time.Second)
	if err != nil {
		return nil, err
	}
	if l.doors.byHost == nil {
		l.doors.byHost = map[string]*http.Client{}
	}
	l.doors.byHost[host] = c.Client
	l.t.Cleanup(c.Close)
	return c.Client, nil
}

// ask gets what the admin API of the node in a host says.
func (l *lab) ask(host, path string, into any) error {
	c, err := l.door(host)
	if err != nil {
		return err
	}
	req, err := http.NewRequest(http.MethodGet, "http://127.0.0.1:8081"+path, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+l.token)
	resp, err := c.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }() // all of it is read
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s: %s", host, resp.Status, b)
	}
	return json.Unmarshal(b, into)
}

func (l *lab) status(host string) (st admin.Status, err error) {
	err = l.ask(host, "/api/v1/status", &st)
	return st, err
}
