package transport

import "testing"

func TestFloodIsNoticed(t *testing.T) {
	var f flood
	for i := range 1000 {
		if f.note(1, 0) {
			t.Fatal("good datagrams are no flood")
		}
		if i%100 == 0 && f.note(1, 1) {
			t.Fatal("one refused datagram now and then is no flood")
		}
	}
	n := 0
	for ; !f.note(1, 1); n++ {
		if n > 10*floodJunk {
			t.Fatal("a flood was not noticed")
		}
	}
	for range 100 { // the token goes on meanwhile
		f.note(1, 0)
		if !f.note(60, 60) {
			t.Fatal("the flood is not over")
		}
	}
	for n = 0; f.note(1, 0); n++ {
		if n > 10*floodJunk {
			t.Fatal("the end of a flood was not noticed")
		}
	}
}
