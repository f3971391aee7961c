//go:build !linux

package main

import (
	"context"
	"errors"
	"io"
)

var errLinux = errors.New("lab: network namespaces need Linux")

func (c *upCmd) Run(context.Context, io.Writer) error     { return errLinux }
func (c *execCmd) Run(context.Context, io.Writer) error   { return errLinux }
func (c *engineCmd) Run(context.Context, io.Writer) error { return errLinux }

func (c *showCmd) Run(context.Context, io.Writer) error { return errLinux }

func call(context.Context, string, string, string, any, any) error { return errLinux }
