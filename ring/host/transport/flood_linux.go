package transport

// flood finds out that strangers send so much that a thread which wakes for each of
// their datagrams does little else. Most of what such a datagram costs is the
// wake-up; read in heaps they are cheap.
type flood struct{ junk, good int }

const (
	floodJunk  = 64 // so many refused datagrams lately
	floodShare = 8  // and so many for each good one
)

// note takes what one wake-up brought, and reports whether to rest a moment before
// the next. What came long ago counts less and less.
func (f *flood) note(got, refused int) bool {
	f.junk += refused
	f.good += got - refused
	if f.junk+f.good > 4*floodJunk {
		f.junk, f.good = f.junk/2, f.good/2
	}
	return f.junk >= floodJunk && f.junk >= floodShare*f.good
}

// refused counts the datagrams that nobody in this cluster can have meant.
func (t *Transport) refused() (n uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, r := range [...]reason{dropKey, dropReplay, dropMalformed, dropOversize, dropUnknown, dropStale} {
		n += t.dropped[r]
	}
	return n
}
