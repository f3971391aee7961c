package disk

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"rain/ring"
)

// A process that was just killed may take a moment to let go of its lock.
const (
	lockWait = 500 * time.Millisecond
	lockPoll = 25 * time.Millisecond
)

// lockFolder takes the folder's lock and writes into it who has it. The kernel
// lets go of it when the process dies, however it dies.
func lockFolder(dir string, me ring.NodeID) (*os.File, error) {
	path := filepath.Join(dir, "owner")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("disk: the data folder's lock: %w", err)
	}
	for end := time.Now().Add(lockWait); ; time.Sleep(lockPoll) {
		ok, err := tryLock(f)
		if err != nil {
			f.Close()
			return nil, fmt.Errorf("disk: locking %s: %w; the data folder must be on a file system with locks", path, err)
		}
		if ok {
			break
		}
		if time.Now().After(end) {
			pid := ownerPID(f)
			f.Close()
			return nil, &InUseError{Dir: dir, PID: pid}
		}
	}
	// What it says is for people and for InUseError; a failure to write it is
	// no reason to stop.
	if err := f.Truncate(0); err == nil {
		_, _ = f.WriteAt(fmt.Appendf(nil, "pid %d node %s\n", os.Getpid(), me), 0)
	}
	return f, nil
}

// ownerPID reads the process id out of a lock file, 0 if it has none.
func ownerPID(f *os.File) int {
	var buf [64]byte
	n, _ := f.ReadAt(buf[:], 0)
	var pid int
	if _, err := fmt.Sscanf(string(buf[:n]), "pid %d", &pid); err != nil || pid < 0 {
		return 0
	}
	return pid
}
