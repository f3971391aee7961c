package client

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
)

// ClusterFile is what a client needs of a demo.json, or of {"admin":[URL],
// "token":T}. It may have both.
type ClusterFile struct {
	Admin   []string      `json:"admin"`
	Token   string        `json:"token"`
	Control string        `json:"control"`
	Nodes   []ClusterNode `json:"nodes"`

	TokenFrom string `json:"-"` // the file's path; who replaces the token says from where
}

// ClusterNode is one node of a demo or a laboratory.
type ClusterNode struct {
	Name  string   `json:"name"`
	Admin string   `json:"admin"`
	Also  []string `json:"also"` // the same by its other interfaces
}

// ReadClusterFile reads a cluster file and checks that it names an address.
func ReadClusterFile(path string) (ClusterFile, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return ClusterFile{}, fmt.Errorf("client: cluster file: %w", err)
	}
	f, err := parseClusterFile(b)
	if err != nil {
		return ClusterFile{}, fmt.Errorf("client: cluster file %s: %w", path, err)
	}
	f.TokenFrom = path
	return f, nil
}

func parseClusterFile(b []byte) (ClusterFile, error) {
	var f ClusterFile
	if err := json.Unmarshal(b, &f); err != nil {
		return ClusterFile{}, fmt.Errorf(`neither a demo.json nor {"admin":[URL],"token":T}: %w`, err)
	}
	for _, n := range f.Nodes {
		if err := newWays().add(n.Admin, n.Also); err != nil {
			return ClusterFile{}, fmt.Errorf("node %s: %w", n.Name, err)
		}
	}
	if len(f.URLs()) == 0 {
		return ClusterFile{}, fmt.Errorf(`names no admin address; want a demo.json or {"admin":[URL],"token":T}`)
	}
	return f, nil
}

// URLs are the admin addresses in the order of the file.
func (f ClusterFile) URLs() []string {
	urls := append([]string(nil), f.Admin...)
	for _, n := range f.Nodes {
		if n.Admin != "" && !slices.Contains(urls, n.Admin) {
			urls = append(urls, n.Admin)
		}
	}
	return urls
}

// Client makes a client of the cluster.
func (f ClusterFile) Client() *Client {
	c := New(f.URLs(), f.Token)
	c.Control, c.TokenFrom = f.Control, f.TokenFrom
	c.nodes = make(map[string]string)
	for _, n := range f.Nodes {
		c.nodes[n.Name] = n.Admin
		_ = c.ways.add(n.Admin, n.Also) // what is no URL has no further addresses
	}
	return c
}
