package conf

import (
	"fmt"
	"reflect"
	"strings"
)

// Change is a key whose value differs between two readings of a file.
type Change struct {
	Key      string `json:"key"`
	Old, New string `json:"-"` // as text; secrets stay hidden
	Restart  bool   `json:"restart"`
}

func (c Change) String() string { return fmt.Sprintf("%s: %s -> %s", c.Key, c.Old, c.New) }

// live are the keys that a running node takes over from a file read anew. The
// others say that they need a restart.
var live = map[string]bool{"log.level": true, "cluster.key_file (content)": true, "cluster.key_file (further lines)": true}

// Diff lists what differs from old to new, in the order of the sections, for a
// node that reads its file again.
func Diff(old, new *File) []Change {
	var out []Change
	diff("", reflect.ValueOf(*old), reflect.ValueOf(*new), &out)
	return out
}

func diff(path string, a, b reflect.Value, out *[]Change) {
	if reflect.DeepEqual(a.Interface(), b.Interface()) {
		return
	}
	switch {
	case isSection(a.Type()) || path == "":
		for i := range a.NumField() {
			name, _, _ := strings.Cut(a.Type().Field(i).Tag.Get("toml"), ",")
			if name == "-" {
				name = hidden[a.Type().Field(i).Name]
			}
			if name != "" {
				diff(join(path, name), a.Field(i), b.Field(i), out)
			}
		}
	case a.Kind() == reflect.Slice && isSection(a.Type().Elem()) && a.Len() == b.Len():
		for i := range a.Len() {
			diff(fmt.Sprintf("%s[%d]", path, i), a.Index(i), b.Index(i), out)
		}
	case a.Kind() == reflect.Slice && isSection(a.Type().Elem()):
		*out = append(*out, Change{Key: path, Old: fmt.Sprintf("%d of them", a.Len()), New: fmt.Sprintf("%d of them", b.Len()), Restart: true})
	default:
		*out = append(*out, Change{Key: path, Old: fmt.Sprint(a.Interface()), New: fmt.Sprint(b.Interface()), Restart: !live[path]})
	}
}

// hidden names the secrets by the files that they come from.
var hidden = map[string]string{"Key": "key_file (content)", "OldKeys": "key_file (further lines)", "Token": "token_file (content)"}
