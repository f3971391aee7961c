// Package labtest breaks laboratories of demos/lab and looks whether the cluster
// bears it. Its tests need root on Linux; without it they print one line
// `skipped lab/NAME: REASON` each.
//
// By default the tests are short. Offline, with more chance:
//
//	go test ./demos/lab/labtest -run RandomFaults -v -timeout 2h -sets 200 -seed 1
package labtest
