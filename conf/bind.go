package conf

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/BurntSushi/toml"

	"rain/ring"
)

// binder puts a decoded TOML tree into the structs and collects every fault on
// its way; the TOML library's own decoding stops at the first.
type binder struct {
	file   string
	lines  map[string]int
	faults Problems
}

// decode returns no file only if the text is not TOML at all.
func decode(path string, text []byte) (*File, *binder) {
	b := &binder{file: path}
	var tree map[string]any
	if _, err := toml.Decode(string(text), &tree); err != nil {
		p := Problem{File: path, Line: 1, What: "not TOML: " + err.Error()}
		if pe, ok := errors.AsType[toml.ParseError](err); ok {
			p.Line, p.Key, p.What = max(pe.Position.Line, 1), pe.LastKey, "not TOML: "+pe.Message // it counts from 0 where a string is cut off
		}
		b.faults = append(b.faults, p)
		return nil, b
	}
	b.lines = lineIndex(string(text))
	f := Default()
	f.Path = path
	b.table("", tree, reflect.ValueOf(f).Elem())
	b.validate(f)
	return f, b
}

// fault notes a problem of the key at path.
func (b *binder) fault(path, allowed, what string, args ...any) {
	b.faults = append(b.faults, Problem{File: b.file, Line: b.lineOf(path), Key: path, What: fmt.Sprintf(what, args...), Allowed: allowed})
}

// bad reports whether path or something inside it has a fault already.
func (b *binder) bad(path string) bool {
	return slices.ContainsFunc(b.faults, func(p Problem) bool {
		rest, ok := strings.CutPrefix(p.Key, path)
		return ok && (rest == "" || rest[0] == '.' || rest[0] == '[')
	})
}

// lineOf is the line of path, or of the nearest table around it.
func (b *binder) lineOf(path string) int {
	for path != "" {
		if line, ok := b.lines[path]; ok {
			return line
		}
		path = path[:max(strings.LastIndexAny(path, ".["), 0)]
	}
	return 1
}

// table binds the keys of one table to the fields of one struct.
func (b *binder) table(path string, tree map[string]any, dst reflect.Value) {
	known := make([]string, 0, dst.NumField())
	for i := range dst.NumField() {
		field := dst.Type().Field(i)
		name, opts, _ := strings.Cut(field.Tag.Get("toml"), ",")
		if name == "-" {
			continue
		}
		known = append(known, name)
		at := join(path, name)
		v, ok := tree[name]
		s, isText := dst.Field(i).Addr().Interface().(*string)
		isPath := isText && strings.Contains(opts, "path")
		if !ok {
			if isPath {
				*s = under(b.file, *s) // a default is relative to the file, too
			}
			if strings.Contains(opts, "required") {
				b.fault(at, "it is required, see the output of 'snow config'", "missing")
			}
			if dst.Field(i).Kind() == reflect.Struct && isSection(dst.Field(i).Type()) {
				b.table(at, nil, dst.Field(i)) // its required keys are missing, too
			}
			continue
		}
		b.value(at, v, dst.Field(i), field.Tag.Get("allow"))
		if isPath {
			*s = under(b.file, *s)
		}
	}
	for name := range tree {
		if !slices.Contains(known, name) {
			b.fault(join(path, name), "allowed here: "+strings.Join(known, ", "), "unknown key")
		}
	}
}

// isSection tells the package's tables from structs that are one value.
func isSection(t reflect.Type) bool {
	return t.Kind() == reflect.Struct && t.NumField() > 0 && t.Field(0).Tag.Get("toml") != ""
}

func (b *binder) value(path string, v any, dst reflect.Value, allow string) {
	switch {
	case isSection(dst.Type()):
		t, ok := v.(map[string]any)
		if !ok {
			b.fault(path, "write ["+path+"] and its keys below", "is %s, not a table", kindOf(v))
			return
		}
		b.table(path, t, dst)
	case dst.Kind() == reflect.Slice:
		b.list(path, v, dst)
	default:
		b.scalar(path, v, dst, allow)
	}
}

// list binds an array or an array of tables; it replaces the default.
func (b *binder) list(path string, v any, dst reflect.Value) {
	var elems []any
	switch v := v.(type) {
	case []any:
		elems = v
	case []map[string]any:
		for _, t := range v {
			elems = append(elems, t)
		}
	default:
		want := `a list, as in ` + path + ` = ["...", "..."]`
		if isSection(dst.Type().Elem()) {
			want = "write [[" + path + "]] with two brackets for each one"
		}
		b.fault(path, want, "is %s, not a list", kindOf(v))
		return
	}
	out := reflect.MakeSlice(dst.Type(), len(elems), len(elems))
	for i, e := range elems {
		b.value(fmt.Sprintf("%s[%d]", path, i), e, out.Index(i), "")
	}
	dst.Set(out)
}

func (b *binder) scalar(path string, v any, dst reflect.Value, allow string) {
	if n, ok := v.(int64); ok {
		switch p := dst.Addr().Interface().(type) {
		case *int64:
			*p = n
			return
		case *int:
			if n >= math.MinInt32 && n <= math.MaxInt32 {
				*p = int(n)
				return
			}
			b.fault(path, "see the output of 'snow config' for its range", "%d is out of range", n)
			return
		}
	}
	if p, isBool := dst.Addr().Interface().(*bool); isBool {
		if x, ok := v.(bool); ok {
			*p = x
			return
		}
		b.fault(path, "true or false, without quotes", "is %s", kindOf(v))
		return
	}
	s, isText := v.(string)
	want, parse := text(dst.Addr().Interface(), allow)
	switch {
	case parse == nil:
		b.fault(path, "a whole number, without quotes", "is %s", kindOf(v))
	case !isText:
		b.fault(path, want, "is %s, not text in quotes", kindOf(v))
	case !parse(s):
		b.fault(path, want, "%q is not allowed", s)
	}
}

// text says how a field is written as text, and reads it. parse is nil if the
// field is not written as text.
func text(dst any, allow string) (want string, parse func(string) bool) {
	switch p := dst.(type) {
	case *string:
		if allow == "" {
			return "text in quotes", func(s string) bool { *p = s; return !strings.ContainsRune(s, 0) }
		}
		choices := strings.Split(allow, "|")
		return `one of "` + strings.Join(choices, `", "`) + `"`, func(s string) bool { *p = s; return slices.Contains(choices, s) }
	case *time.Duration:
		return `a duration such as "500ms", "10s" or "1h30m"`, keep(p, time.ParseDuration)
	case *netip.AddrPort:
		return `an IP address and a port, such as "10.0.0.1:7400" or "[fd00::1]:7400"`, keep(p, parseAddrPort)
	case *netip.Prefix:
		return `an IP address with the length of its net, such as "10.0.0.100/24"`, keep(p, parsePrefix)
	case *ring.NodeID:
		return `an id "C.C.H.H": four numbers from 0 to 255 (cluster, host), not 0.0.0.0`, keep(p, ring.ParseNodeID)
	case *Code:
		return `"auto", or "n,k" with 1 <= k <= n <= 32 (n parts, any k give the object back)`, keep(p, parseCode)
	default:
		return "", nil
	}
}

// keep stores what parse makes of a text, if it does.
func keep[T any](p *T, parse func(string) (T, error)) func(string) bool {
	return func(s string) bool {
		v, err := parse(s)
		if err != nil {
			return false
		}
		*p = v
		return true
	}
}

func parseAddrPort(s string) (netip.AddrPort, error) {
	ap, err := netip.ParseAddrPort(s)
	if err == nil && (ap.Port() == 0 || ap.Addr().Is4In6()) {
		err = errors.New("conf: port 0 or IPv4 in IPv6")
	}
	return ap, err
}

// parsePrefix takes a bare address for one that is alone in its net.
func parsePrefix(s string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" && !a.Is4In6() {
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	return netip.ParsePrefix(s)
}

func parseCode(s string) (Code, error) {
	if s == "auto" {
		return Code{}, nil
	}
	ns, ks, _ := strings.Cut(s, ",")
	n, err1 := strconv.Atoi(strings.TrimSpace(ns))
	k, err2 := strconv.Atoi(strings.TrimSpace(ks))
	if err := errors.Join(err1, err2); err != nil {
		return Code{}, err
	}
	if k < 1 || k > n || n > 32 {
		return Code{}, errors.New("conf: code out of range")
	}
	return Code{N: n, K: k}, nil
}

// kindOf names a TOML value's type as an operator would.
func kindOf(v any) string {
	switch v := v.(type) {
	case string:
		return "the text " + strconv.Quote(v)
	case int64:
		return "the number " + strconv.FormatInt(v, 10)
	case float64:
		return fmt.Sprintf("the number %v", v)
	case bool:
		return strconv.FormatBool(v)
	case []any:
		return "a list"
	case map[string]any:
		return "a table"
	case []map[string]any:
		return "a list of tables"
	case time.Time:
		return "a date"
	default:
		return fmt.Sprintf("a %T", v)
	}
}
