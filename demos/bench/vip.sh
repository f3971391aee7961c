#!/usr/bin/env bash
# vip.sh: how long a client that never retries waits when the holder of its address
# gets SIGKILL, SIGSTOP or TERM (R times each, loopback driver), and what an idle
# cluster costs. keepalived works on real interfaces only: vip-node.sh is the node
# of a comparison with it in network namespaces.
set -euo pipefail
cd "$(dirname "$0")/../.."
. demos/bench/lib.sh
[ "$(uname)" = Linux ] || { echo "skipped bench/vip: the loopback driver needs Linux"; exit 0; }
go build -o "$dir/trial" ./cmd/internal/trial
"$dir/trial" idle -preset lan -port "$PORT"
"$dir/trial" gaps -n "$R" -port "$PORT"
"$dir/trial" gaps -n "$R" -preset lan -port "$PORT"
echo "skipped bench/vip/keepalived: not on loopback; demos/bench/vip-node.sh says how a node of such a comparison is run"
