// Package box makes the hosts of the laboratory: a network namespace each, with
// TAP devices as interfaces and processes inside. Linux, and root.
//
// Nothing of it outlives the process that made it: namespaces have no name,
// TAP devices end with their file, and processes get SIGKILL when the thread
// that started them ends. Run it as process 1 of a PID namespace and the kernel
// also ends what those processes left behind; Reaper then takes their remains.
package box
