package session

import (
	"crypto/sha256"
	"encoding/base32"
)

// ID names a session. It is not a secret that protects anything: who knows it
// can make a position wrong, and see nothing.
type ID [10]byte

// IDText is how many letters an ID has as text.
const IDText = 16

var encoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// MakeID makes an ID of a text that never repeats, or of what tells one
// connection from another.
func MakeID(of string) ID {
	sum := sha256.Sum256([]byte(of))
	return ID(sum[:10])
}

// ParseID reads an ID's text: 16 letters a to z and digits 2 to 7.
func ParseID(s []byte) (id ID, ok bool) {
	if len(s) != IDText {
		return ID{}, false
	}
	n, err := encoding.Decode(id[:], s)
	return id, err == nil && n == len(id)
}

func (id ID) String() string { return encoding.EncodeToString(id[:]) }
