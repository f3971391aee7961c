package seal

// ReplayWindow is by how much a datagram may be late, in datagrams.
const ReplayWindow = 1024

// window remembers which counters were seen: all up to top-ReplayWindow, and
// those above it by a bit each. The words form a ring (RFC 6479); one word is
// spare, so that the word that top enters can be cleared at once.
type window struct {
	top  uint64
	bits [ReplayWindow/64 + 1]uint64
}

// fresh reports whether a counter may be accepted. Counters start at 1.
func (w *window) fresh(n uint64) bool {
	if n > w.top {
		return true
	}
	if n == 0 || w.top-n >= ReplayWindow {
		return false
	}
	return w.bits[n/64%uint64(len(w.bits))]&(1<<(n%64)) == 0
}

// note marks a counter as seen. It must be fresh.
func (w *window) note(n uint64) {
	size := uint64(len(w.bits))
	if n > w.top {
		first, last := w.top/64+1, n/64
		if last >= first+size {
			first = last - size + 1
		}
		for i := first; i <= last; i++ {
			w.bits[i%size] = 0
		}
		w.top = n
	}
	w.bits[n/64%size] |= 1 << (n % 64)
}
