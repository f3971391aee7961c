package conf

import (
	"fmt"
	"strconv"
	"strings"
)

// lineIndex finds the line of each key of a TOML text: tables ("vip"), keys
// ("vip.driver"), elements of arrays of tables ("link[1]", "link[1].name") and
// of arrays ("cluster.founders[2]"). The TOML library keeps positions to
// itself, so this is a second, smaller reading.
//
// The text has passed the TOML library, so the scanner need not find errors;
// on text that is not TOML it ends all the same and its answer means nothing.
func lineIndex(text string) map[string]int {
	s := &scanner{text: strings.TrimPrefix(text, "\ufeff"), line: 1, lines: map[string]int{}, count: map[string]int{}}
	s.document()
	return s.lines
}

type scanner struct {
	text  string
	pos   int
	line  int
	depth int // of nested values
	lines map[string]int
	count map[string]int // elements so far of each array of tables
}

// maxDepth bounds the recursion into nested arrays and tables, and the parts of
// a key.
const maxDepth = 32

func (s *scanner) peek() byte {
	if s.pos >= len(s.text) {
		return 0
	}
	return s.text[s.pos]
}

func (s *scanner) next() byte {
	c := s.peek()
	if s.pos < len(s.text) {
		s.pos++
	}
	if c == '\n' {
		s.line++
	}
	return c
}

func (s *scanner) eof() bool { return s.pos >= len(s.text) }

// blank skips spaces, line ends and comments.
func (s *scanner) blank() {
	for !s.eof() {
		switch s.peek() {
		case ' ', '\t', '\r', '\n':
			s.next()
		case '#':
			for !s.eof() && s.peek() != '\n' {
				s.next()
			}
		default:
			return
		}
	}
}

func (s *scanner) spaces() {
	for s.peek() == ' ' || s.peek() == '\t' {
		s.next()
	}
}

func (s *scanner) document() {
	table := ""
	for s.blank(); !s.eof(); s.blank() {
		before := s.pos
		if s.peek() == '[' {
			table = s.header()
		} else {
			s.pair(table)
		}
		if s.pos == before {
			s.next() // not TOML: go on somehow
		}
	}
}

// header reads [a.b] or [[a.b]] and returns the path of the table it opens.
func (s *scanner) header() string {
	line := s.line
	s.next()
	array := s.peek() == '['
	if array {
		s.next()
	}
	parts := s.key()
	for s.peek() == ']' {
		s.next()
	}
	path := ""
	for i, p := range parts {
		path = join(path, p)
		n, isArray := s.count[path]
		switch {
		case i == len(parts)-1 && array:
			s.count[path] = n + 1
			path = fmt.Sprintf("%s[%d]", path, n)
		case isArray:
			path = fmt.Sprintf("%s[%d]", path, n-1)
		}
		s.note(path, line)
	}
	return path
}

// pair reads key = value below table.
func (s *scanner) pair(table string) {
	line := s.line
	path := table
	for _, p := range s.key() {
		path = join(path, p)
		s.note(path, line)
	}
	s.spaces()
	if s.peek() != '=' {
		return
	}
	s.next()
	s.spaces()
	s.value(path)
}

// note keeps the first line of a path.
func (s *scanner) note(path string, line int) {
	if _, ok := s.lines[path]; !ok {
		s.lines[path] = line
	}
}

// key reads a.b."c d" up to what follows it.
func (s *scanner) key() []string {
	var parts []string
	for !s.eof() && len(parts) < maxDepth {
		s.spaces()
		switch c := s.peek(); {
		case c == '"' || c == '\'':
			parts = append(parts, s.quoted(c))
		default:
			start := s.pos
			for c := s.peek(); !s.eof() && (c == '_' || c == '-' || c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z'); c = s.peek() {
				s.next()
			}
			if s.pos == start {
				return parts
			}
			parts = append(parts, s.text[start:s.pos])
		}
		s.spaces()
		if s.peek() != '.' {
			return parts
		}
		s.next()
	}
	return parts
}

// quoted reads a string of one of TOML's four kinds and returns its text.
func (s *scanner) quoted(q byte) string {
	start := s.pos
	end := string(q)
	if triple := strings.Repeat(end, 3); strings.HasPrefix(s.text[s.pos:], triple) {
		end = triple
	}
	s.pos += len(end)
	from := s.pos
	for !s.eof() && !strings.HasPrefix(s.text[s.pos:], end) {
		if s.next() == '\\' && q == '"' {
			s.next()
		}
	}
	inner := s.text[from:s.pos]
	for i := 0; i < len(end)+2 && s.peek() == q; i++ { // """a""""" ends with quotes of its own
		if len(end) == 1 && i == 1 {
			break
		}
		s.next()
	}
	if q == '"' && len(end) == 1 {
		if plain, err := strconv.Unquote(s.text[start:s.pos]); err == nil {
			return plain
		}
	}
	return inner
}

// value reads the value of path and notes what is inside it.
func (s *scanner) value(path string) {
	s.depth++
	defer func() { s.depth-- }()
	if s.depth > maxDepth {
		s.pos = len(s.text)
		return
	}
	switch c := s.peek(); c {
	case '"', '\'':
		s.quoted(c)
	case '[':
		s.next()
		for i := 0; ; i++ {
			s.blank()
			if s.eof() || s.peek() == ']' {
				s.next()
				return
			}
			before := s.pos
			elem := fmt.Sprintf("%s[%d]", path, i)
			s.note(elem, s.line)
			s.value(elem)
			s.separator(before)
		}
	case '{':
		s.next()
		for {
			s.blank()
			if s.eof() || s.peek() == '}' {
				s.next()
				return
			}
			before := s.pos
			s.pair(path)
			s.separator(before)
		}
	default:
		for !s.eof() && !strings.ContainsRune(",]}#\n\r", rune(s.peek())) {
			s.next()
		}
	}
}

// separator skips the comma after an element, and always gets on.
func (s *scanner) separator(before int) {
	s.blank()
	if s.peek() == ',' || s.pos == before {
		s.next()
	}
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}
