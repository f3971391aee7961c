package conf

import _ "embed"

//go:embed reference.toml
var reference string

// Reference is the commented node file: every key with its meaning and its
// default. A line that starts with # and a key shows the default; the lines
// without # are required and hold an example.
func Reference() string { return reference }
