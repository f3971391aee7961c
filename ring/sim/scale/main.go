// Command scale prints what one ring costs at several numbers of members, in the
// simulator: virtual time, exact clocks, a net with a fixed delay. It is the table
// of assets/docs/scale.md.
//
//	go run ./ring/sim/scale [-preset lan] [-delay 100us] [members...]
package main

import (
	"flag"
	"fmt"
	"os"
	"strconv"
	"time"

	"rain/ring"
	"rain/ring/sim"
)

func main() {
	preset := flag.String("preset", "lan", "the ring's times")
	delay := flag.Duration("delay", 100*time.Microsecond, "one-way delay of a message, the hosts' time included")
	flag.Parse()
	if err := run(*preset, *delay, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(preset string, delay time.Duration, args []string) error {
	timing, ok := ring.Preset(preset)
	if !ok {
		return fmt.Errorf("scale: no preset %q; one of %v", preset, ring.PresetNames())
	}
	members := []int{4, 10, 16, 32, 64, 100}
	if len(args) > 0 {
		members = nil
		for _, a := range args {
			n, err := strconv.Atoi(a)
			if err != nil || n < 2 || n > 120 {
				return fmt.Errorf("scale: %q is no number of members from 2 to 120", a)
			}
			members = append(members, n)
		}
	}
	fmt.Printf("preset %s (idle rotation %v, lease %v), %v from member to member\n\n", preset, timing.IdleRotation, timing.Lease, delay)
	fmt.Println("| members | founded ms | rotation ms | token B | idle msg/s | idle kB/s | commit ms | applied by all ms | busy kB/s | dead: found / view ms, msgs, lapsed | dead holder: found / view ms, msgs, lapsed |")
	fmt.Println("|---|---|---|---|---|---|---|---|---|---|---|")
	for _, n := range members {
		s, err := sim.Measure(n, timing, delay)
		if err != nil {
			return fmt.Errorf("scale: %d members: %w", n, err)
		}
		fmt.Printf("| %d | %s | %s | %d | %.0f | %.1f | %s | %s | %.0f | %s | %s |\n", n, ms(s.Found), ms(s.Rotation), s.Token,
			s.Messages, s.Bytes/1000, ms(s.Commit), ms(s.Applied), s.BusyBytes/1000, removal(s.Dead), removal(s.DeadHolder))
	}
	return nil
}

func removal(r sim.Removal) string {
	return fmt.Sprintf("%s / %s, %d, %d", ms(r.Detected), ms(r.View), r.Messages, r.Lapsed)
}

func ms(d time.Duration) string { return fmt.Sprintf("%.1f", float64(d)/float64(time.Millisecond)) }
