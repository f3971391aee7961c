#!/usr/bin/env bash
# Fuzzes every parser of foreign bytes for TIME each (default 20s).
set -euo pipefail
cd "$(dirname "$0")/.."
: "${TIME:=20s}"
for pkg in $(go list ./...); do
	dir=$(go list -f '{{.Dir}}' "$pkg")
	# A package without a fuzz test is no fault.
	for f in $(grep -hoE '^func Fuzz[A-Za-z0-9_]+' "$dir"/*_test.go 2>/dev/null | sed 's/func //' || true); do
		echo "== $pkg $f $TIME"
		go test "$pkg" -run '^$' -fuzz "^$f\$" -fuzztime "$TIME"
	done
done
