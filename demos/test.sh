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
	local name=$1
	shift
	echo "== $name"
	# awk and not grep: it never fails, so the status below is the command's.
	"$@" 2>&1 | tee "$out/$name.log" | awk '!/^(=== |--- PASS|PASS$|\?|    --- PASS)/'
	local status=${PIPESTATUS[0]}
	[ "$status" = 0 ] || { echo "FAILED: $name"; failed=1; }
}
run race $GO test -race -timeout 15m $($GO list ./... | grep -vE '/ring/sim$|/cmd/internal/contract$|/vip/linux(/netlab)?$|/demos/lab/labtest$')
run sim $GO test -timeout 15m -count=1 -v ./ring/sim
# Hosts, switches and cables of its own: as root, and where no other work takes
# the processors: these tests hold the ring to its view while cables break.
if [ "${LAB:-}" = 1 ]; then
	run lab $GO test -timeout 15m -count=1 -v ./demos/lab/labtest
else
	echo "skipped lab: hosts in network namespaces want root and an idle machine; LAB=1 runs them" | tee "$out/lab.log"
fi
run contract $GO test -timeout 10m -count=1 -v ./cmd/internal/contract
# One after the other: they build networks, and a loaded machine loses leases.
run vip-linux $GO test -race -timeout 15m -count=1 -p 1 -v ./vip/linux/...
if [ "$(uname)" = Linux ]; then
	run plug demos/pull-the-plug.sh
else
	echo "skipped plug: the loopback driver for virtual IPs needs Linux" | tee "$out/plug.log"
fi
if [ "$(uname)" = Linux ]; then
	run first-page demos/first-page.sh
else
	echo "skipped first-page: it needs Linux" | tee "$out/first-page.log"
fi
if [ "$(uname)" = Linux ] && command -v node >/dev/null 2>&1; then
	run film-browser node demos/film-test.mjs
else
	echo "skipped film-browser: it needs Linux and node 20" | tee "$out/film-browser.log"
fi
grep -h -oE 'skipped [^ ]+: .*' "$out"/*.log | sort -u
exit $failed
