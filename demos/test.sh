#!/usr/bin/env bash
# What `make test` runs: unit tests with the race detector, the simulator without
# it (it is one goroutine and wants speed), and the programs as a user has them.
# Ends with one line `skipped NAME: REASON` for each thing skipped.
set -uo pipefail
cd "$(dirname "$0")/.."
GO=${GO:-go}
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
failed=0
run() { # NAME COMMAND...
	local name=$1; shift
	echo "== $name"
	"$@" 2>&1 | tee "$out/$name.log" | grep -vE '^(=== |--- PASS|PASS$|\?|    --- PASS)' || true
	[ "${PIPESTATUS[0]}" = 0 ] || { echo "FAILED: $name"; failed=1; }
}
run race $GO test -race -timeout 15m $($GO list ./... | grep -vE '/ring/sim$|/ring/mutants$|/cmd/internal/contract$')
run sim $GO test -timeout 15m -count=1 -v ./ring/sim
run contract $GO test -timeout 10m -count=1 -v ./cmd/internal/contract
run plug demos/pull-the-plug.sh
grep -h -oE 'skipped [^ ]+: .*' "$out"/*.log | sort -u
exit $failed
