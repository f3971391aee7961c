#!/usr/bin/env bash
# go.sh: the Go benchmarks, read by benchstat. With BASE=<commit> they run there,
# too, round by round in turn with this tree, and benchstat says what changed.
# COUNT rounds (default 6), BENCHTIME each (default 100ms), BENCH a pattern, PKGS.
set -euo pipefail
cd "$(dirname "$0")/../.."
. demos/bench/lib.sh
COUNT=${COUNT:-6} BENCHTIME=${BENCHTIME:-100ms} BENCH=${BENCH:-.}
PKGS=${PKGS:-./ring/host/seal ./ring/host/transport ./snow ./store/array ./store/catalog ./store ./video/session}
(cd cmd/internal/tools && go build -o "$dir/benchstat" golang.org/x/perf/cmd/benchstat)
bench() { # TREE FILE
	(cd "$1" && for p in $PKGS; do
		[ -d "$p" ] || continue
		go test -run '^$' -bench "$BENCH" -benchtime "$BENCHTIME" "$p" || echo "skipped bench/go: $p in $1 failed" >&2
	done) >>"$2"
}
if [ -n "${BASE:-}" ]; then
	git worktree add --quiet --detach "$dir/base" "$BASE"
	trap 'git worktree remove --force "$dir/base"; finish; rm -rf "$dir"' EXIT
fi
for _ in $(seq "$COUNT"); do
	[ -z "${BASE:-}" ] || bench "$dir/base" "$dir/old"
	bench . "$dir/new"
done
if [ -n "${BASE:-}" ]; then "$dir/benchstat" "$dir/old" "$dir/new"; else "$dir/benchstat" "$dir/new"; fi
