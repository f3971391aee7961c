package main

import (
	"errors"
	"os"

	"rain/cmd/internal/cli"
)

// openFile opens what is to be sent. What cannot be opened is bad input.
func openFile(path string) (*os.File, os.FileInfo, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, &cli.Error{Exit: cli.BadInput, Err: err}
	}
	st, err := f.Stat()
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	return f, st, nil
}
