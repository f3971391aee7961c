#!/usr/bin/env bash
# serve.sh ROOT PORT [FILM.mp4]: a cluster of one node that serves the folder ROOT
# as its default site on 127.0.0.1:PORT, and the film as /video/bench/, in the
# foreground. For comparisons with other servers. Uses PORT+1 (admin) and PORT+2
# (ring); files go at the end.
set -euo pipefail
root=$1 port=$2 film=${3:-}
bin=$(cd "$(dirname "$0")/../../bin" && pwd)
dir=$(mktemp -d)
pid=
end() { [ -n "$pid" ] && kill -TERM "$pid" 2>/dev/null && wait "$pid"; rm -rf "$dir"; }
trap end EXIT
trap 'exit 0' INT TERM
"$bin/rainctl" key new "$dir/key" >/dev/null
printf 'bench-%s' "$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')" >"$dir/token"
chmod 600 "$dir/token"
cat >"$dir/node.toml" <<TOML
[node]
name = "bench"
id = "0.1.0.1"
data = "data"
[cluster]
name = "bench"
key_file = "key"
preset = "lan"
detection = "aggressive"
founders = ["0.1.0.1"]
[[link]]
name = "a"
listen = "127.0.0.1:$((port + 2))"
[web]
listen = ["127.0.0.1:$port"]
[admin]
listen = "127.0.0.1:$((port + 1))"
token_file = "token"
[log]
level = "warn"
TOML
# Only rainvideo streams films.
"$bin/$([ -n "$film" ] && echo rainvideo || echo snow)" run --config "$dir/node.toml" &
pid=$!
ctl() { "$bin/rainctl" --admin "http://127.0.0.1:$((port + 1))" --token-file "$dir/token" "$@"; }
for _ in $(seq 100); do
	curl -sf -o /dev/null "http://127.0.0.1:$((port + 1))/readyz" && break
	sleep 0.1
done
ctl site publish "$root" bench.rain --default >/dev/null
[ -z "$film" ] || ctl video add "$film" --name bench >/dev/null
wait "$pid"
