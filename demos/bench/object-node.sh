#!/usr/bin/env bash
# object-node.sh: one node of a RAIN cluster as an object store, in the
# foreground, for comparisons with other object stores. It wants in its
# environment what their launchers get: NODE (1..), NODES, HOST, PORT, PEERS
# (comma list of host:port, one for each node in order), DIRBASE (a folder that all
# nodes share) and DIR (this node's own).
#
# Objects are at http://HOST:PORT/api/v1/objects/BUCKET/KEY, user admin, password
# $TOKEN (default bench-bench-bench). The ring's ports are PORT+OFFSET (default
# 1000), the web's PORT+2*OFFSET. PRESET is the ring's (default laptop: all nodes
# and the clients share one machine), BIN the folder of the programs.
#
#   run.sh -p minio --add rain 'basic:admin:bench-bench-bench@/api/v1/objects' /path/to/object-node.sh
set -euo pipefail
bin=${BIN:-$(cd "$(dirname "$0")/../../bin" && pwd)}
token=${TOKEN:-bench-bench-bench}
preset=${PRESET:-laptop} offset=${OFFSET:-1000}
mkdir -p "$DIR"
# The first node makes the cluster's key, the others wait for it.
if [ "$NODE" = 1 ] && [ ! -s "$DIRBASE/key" ]; then
	"$bin/rainctl" key new "$DIRBASE/key.new" >/dev/null
	mv "$DIRBASE/key.new" "$DIRBASE/key"
fi
for _ in $(seq 100); do
	[ -s "$DIRBASE/key" ] && break
	sleep 0.1
done
(umask 077 && printf %s "$token" >"$DIR/token")
founders= links=
i=0
for p in ${PEERS//,/ }; do
	i=$((i + 1))
	founders="$founders${founders:+, }\"0.1.0.$i\""
	links="$links
[[peer]]
id = \"0.1.0.$i\"
name = \"n$i\"
links = [\"${p%:*}:$((${p##*:} + offset))\"]"
done
cat >"$DIR/node.toml" <<TOML
[node]
name = "n$NODE"
id = "0.1.0.$NODE"
data = "data"
[cluster]
name = "bench"
key_file = "$DIRBASE/key"
preset = "$preset"
detection = "aggressive"
founders = [$founders]
[[link]]
name = "a"
listen = "$HOST:$((PORT + offset))"
$links
[web]
listen = ["$HOST:$((PORT + 2 * offset))"]
[admin]
listen = "$HOST:$PORT"
token_file = "token"
metrics_public = true
[log]
level = "warn"
TOML
exec "$bin/rainvideo" run --config "$DIR/node.toml"
