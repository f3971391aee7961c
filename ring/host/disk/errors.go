package disk

import (
	"fmt"

	"rain/ring"
)

// CorruptError says that what a file holds is not what was written.
type CorruptError struct {
	Dir  string // the data folder
	File string
	What string
	Err  error // may be nil
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("disk: %s is damaged (%s); move the data folder %s away and start the node: it joins with an empty disk and gets everything from the others",
		e.File, e.What, e.Dir)
}

func (e *CorruptError) Unwrap() error { return e.Err }

// InUseError says that another process has the data folder.
type InUseError struct {
	Dir string
	PID int // 0: unknown
}

func (e *InUseError) Error() string {
	who := "another process"
	if e.PID != 0 {
		who = fmt.Sprintf("process %d", e.PID)
	}
	return fmt.Sprintf("disk: the data folder %s is in use by %s; stop it, or give this node a folder of its own ([node] data)", e.Dir, who)
}

// OtherNodeError says that the data folder is another node's.
type OtherNodeError struct {
	Dir       string
	Owner, Me ring.NodeID
}

func (e *OtherNodeError) Error() string {
	return fmt.Sprintf("disk: the data folder %s belongs to node %s, this is node %s; mend [node] data or [node] id", e.Dir, e.Owner, e.Me)
}

// VersionError says that another version of the program wrote the record.
type VersionError struct {
	File      string
	Have, Max int
}

func (e *VersionError) Error() string {
	return fmt.Sprintf("disk: %s has format version %d, this program reads version %d; start the version that wrote it", e.File, e.Have, e.Max)
}
