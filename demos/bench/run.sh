#!/usr/bin/env bash
# Figures beside peers, in one run on this machine: the parts of this folder, one
# after the other. What is not installed is named as skipped.
#   run.sh [web] [object] [video] [vip] [go]     all without arguments
# R rounds (3) of D seconds (3) each; PORT is the first port to use (23080).
set -euo pipefail
cd "$(dirname "$0")"
[ $# -gt 0 ] || set -- web object video vip go
failed=
for part in "$@"; do
	[ -x "$part.sh" ] || { echo "bench: no part $part; web, object, video, vip and go are there" >&2; exit 2; }
	echo "== $part, load $(cut -d' ' -f1-3 /proc/loadavg 2>/dev/null || uptime)"
	"./$part.sh" || failed="$failed $part" # the others are worth a run nevertheless
done
[ -z "$failed" ] || { echo "bench: failed:$failed" >&2; exit 1; }
