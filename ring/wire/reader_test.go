package wire

import "testing"

func TestFields(t *testing.T) {
	b := []byte{1, 0, 2, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 4, 1, 'a', 'b'}
	r := Reader{B: b}
	if r.U8() != 1 || r.U16() != 2 || r.U32() != 3 || r.U64() != 4 || !r.Flag() || string(r.Take(2)) != "ab" || !r.Done() {
		t.Errorf("bytes %v were read wrongly", b)
	}
	for n := range len(b) {
		r := Reader{B: b[:n]}
		r.U8()
		r.U16()
		r.U32()
		r.U64()
		r.Flag()
		r.Take(2)
		if r.Done() || !r.Bad || len(r.B) != 0 {
			t.Errorf("%d of %d bytes: %+v", n, len(b), r)
		}
	}
}

// After a fault nothing is read any more, whatever is left.
func TestStaysBad(t *testing.T) {
	for what, fault := range map[string]func(r *Reader){
		"too long":   func(r *Reader) { r.Take(9) },
		"negative":   func(r *Reader) { r.Take(-1) },
		"no flag":    func(r *Reader) { r.Flag() },
		"said to be": func(r *Reader) { r.Bad = true },
	} {
		r := Reader{B: []byte{7, 7, 7, 7, 7, 7, 7, 7}}
		fault(&r)
		if r.U8() != 0 || r.U64() != 0 || r.Flag() || r.Take(1) != nil || r.Done() {
			t.Errorf("%s: it reads on: %+v", what, r)
		}
	}
}

// What was taken cannot be made to grow into what follows.
func TestTakenIsBounded(t *testing.T) {
	b := []byte{1, 2, 3}
	r := Reader{B: b}
	if p := append(r.Take(1), 9); len(p) != 2 || b[1] != 2 {
		t.Error("appending to what was taken wrote on")
	}
}
