package accesslog

import (
	"net/netip"
	"strconv"
	"time"
	"unicode/utf8"
)

// MaxField cuts what a client sent.
const MaxField = 2048

// Record is what is known of one request. Log copies what it needs.
type Record struct {
	Time      time.Time
	Remote    netip.Addr
	Host      []byte
	Method    []byte
	URI       []byte
	Proto     []byte
	Status    int
	Sent      int64 // bytes of the body
	Referer   []byte
	UserAgent []byte
	Took      time.Duration
	VIP       bool
}

// appendCombined writes: REMOTE - - [TIME] "METHOD URI PROTO" STATUS SENT "REFERER" "AGENT".
func (r *Record) appendCombined(b []byte) []byte {
	b = r.Remote.AppendTo(b)
	b = append(b, " - - ["...)
	b = r.Time.AppendFormat(b, "02/Jan/2006:15:04:05 -0700")
	b = append(b, `] "`...)
	b = appendEscaped(b, r.Method)
	b = appendEscaped(append(b, ' '), r.URI)
	b = appendEscaped(append(b, ' '), r.Proto)
	b = strconv.AppendInt(append(b, `" `...), int64(r.Status), 10)
	b = strconv.AppendInt(append(b, ' '), r.Sent, 10)
	b = appendField(append(b, ' '), r.Referer)
	b = appendField(append(b, ' '), r.UserAgent)
	return append(b, '\n')
}

func appendField(b, v []byte) []byte {
	if len(v) == 0 {
		return append(b, `"-"`...)
	}
	return append(appendEscaped(append(b, '"'), v), '"')
}

const hexDigits = "0123456789abcdef"

// appendEscaped writes quotes, backslashes, control and non-ASCII bytes as \xNN,
// as nginx does.
func appendEscaped(b, v []byte) []byte {
	for _, c := range v[:min(len(v), MaxField)] {
		if c == '"' || c == '\\' || c < ' ' || c > '~' {
			b = append(b, '\\', 'x', hexDigits[c>>4], hexDigits[c&15])
			continue
		}
		b = append(b, c)
	}
	return b
}

func (r *Record) appendJSON(b []byte) []byte {
	b = append(b, `{"time":"`...)
	b = r.Time.AppendFormat(b, "2006-01-02T15:04:05.000Z07:00")
	b = r.Remote.AppendTo(append(b, `","remote":"`...))
	b = appendJSONString(append(b, `","host":`...), r.Host)
	b = appendJSONString(append(b, `,"method":`...), r.Method)
	b = appendJSONString(append(b, `,"uri":`...), r.URI)
	b = appendJSONString(append(b, `,"proto":`...), r.Proto)
	b = strconv.AppendInt(append(b, `,"status":`...), int64(r.Status), 10)
	b = strconv.AppendInt(append(b, `,"sent_bytes":`...), r.Sent, 10)
	b = appendJSONString(append(b, `,"referer":`...), r.Referer)
	b = appendJSONString(append(b, `,"user_agent":`...), r.UserAgent)
	b = strconv.AppendFloat(append(b, `,"took_ms":`...), float64(r.Took.Microseconds())/1000, 'f', 3, 64)
	b = strconv.AppendBool(append(b, `,"vip":`...), r.VIP)
	return append(b, "}\n"...)
}

func appendJSONString(b, v []byte) []byte {
	b = append(b, '"')
	v = v[:min(len(v), MaxField)]
	for len(v) > 0 {
		r, n := utf8.DecodeRune(v)
		switch {
		case r == '"' || r == '\\':
			b = append(b, '\\', byte(r))
		case r < ' ' || r == 0x7f:
			b = append(b, '\\', 'u', '0', '0', hexDigits[r>>4], hexDigits[r&15])
		case r == utf8.RuneError && n == 1:
			b = append(b, `\ufffd`...)
		default:
			b = append(b, v[:n]...)
		}
		v = v[n:]
	}
	return append(b, '"')
}
