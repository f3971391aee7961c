#!/bin/sh
# The first page on three new boxes, by the README's commands alone: three hosts
# and a client in network namespaces on one bridge. Says how many commands and
# seconds it took until the virtual address answered, then kills its holder.
# Needs Linux, root, iproute2 and curl. Exit 0: all that it promises held.
set -eu
cd "$(dirname "$0")/.."
[ -x bin/rainctl ] && [ -x bin/snow ] || { echo "first-page: run 'make build' first" >&2; exit 2; }
[ "$(id -u)" = 0 ] || { echo "skipped first-page: it needs root for network namespaces"; exit 0; }
command -v ip >/dev/null && command -v curl >/dev/null || { echo "skipped first-page: it needs iproute2 and curl"; exit 0; }

bin=$PWD/bin dir=$(mktemp -d) id=fp$$ pids=
# What never came to be, or has ended, needs no clearing away.
clean() {
	for p in $pids; do kill -9 "$p" 2>/dev/null || true; done
	for h in 1 2 3 c; do ip netns del "$id$h" 2>/dev/null || true; done
	ip link del "$id" 2>/dev/null || true
	rm -rf "$dir"
}
trap clean EXIT
trap 'exit 1' INT TERM

ip link add "$id" type bridge
ip link set "$id" up
for h in 1 2 3 c; do
	ip netns add "$id$h"
	ip link add "$id-$h" type veth peer name eth0 netns "$id$h"
	ip link set "$id-$h" master "$id" up
	ip -n "$id$h" link set lo up
	ip -n "$id$h" link set eth0 up
	case $h in c) a=200 ;; *) a=$h ;; esac
	ip -n "$id$h" addr add "10.77.0.$a/24" dev eth0
done
commands=0
on() { h=$1; shift; ip netns exec "$id$h" "$@"; }
do_on() { commands=$((commands + 1)); on "$@"; }
now() { date +%s%3N; }
until_ok() { # seconds, then what must succeed
	n=$(($1 * 10)); shift
	while ! "$@" >/dev/null 2>&1; do
		n=$((n - 1)); [ $n -gt 0 ] || { echo "first-page: not in time: $*" >&2; cat "$dir"/*.log >&2; exit 1; }
		sleep 0.1
	done
}
page() { [ "$(on c curl -s -m 1 http://10.77.0.100/)" = "first page" ]; }

mkdir "$dir/public"
echo "first page" >"$dir/public/index.html"
start=$(now)
do_on 1 "$bin/rainctl" init mysite "$dir/1" --vip 10.77.0.100/24 >/dev/null
commands=$((commands + 1))
ip netns exec "${id}1" "$bin/snow" run --config "$dir/1/node.toml" 2>"$dir/1.log" & pid1=$!; pids=$pid1
until_ok 20 on 1 curl -sf http://10.77.0.1:8081/readyz
export RAIN_CLUSTER="$dir/1/cluster.json"
do_on 1 "$bin/rainctl" site publish "$dir/public" www.example.org --default >/dev/null
for h in 2 3; do
	commands=$((commands + 1))
	token=$(on 1 "$bin/rainctl" invite 2>/dev/null)
	do_on $h "$bin/rainctl" join "$token" "$dir/$h" >/dev/null
	commands=$((commands + 1))
	ip netns exec "$id$h" "$bin/snow" run --config "$dir/$h/node.toml" 2>"$dir/$h.log" & eval "pid$h=\$!"; pids="$pids $!"
done
until_ok 20 page
first=$(($(now) - start))
until_ok 20 on 1 "$bin/rainctl" status --check
all=$(($(now) - start))
echo "first page on 10.77.0.100: $commands commands, $first ms; three nodes, all held: $all ms"
[ "$commands" -lt 10 ] || { echo "first-page: more commands than promised" >&2; exit 1; }

holder=$(on 1 "$bin/rainctl" status --get vips.0.holder)
on c "$bin/rainctl" watch http://10.77.0.100/ --every 5ms --for 4s --json >"$dir/watch" & watch=$!
sleep 1
eval "kill -9 \$pid${holder#n}"
wait $watch || true # it tells of requests that failed, as some must here; its figures are looked at
gap=$(sed 's/.*"longest_gap_ms":\([0-9]*\).*/\1/' "$dir/watch")
echo "its holder $holder killed: longest gap of the address $gap ms"
[ "$gap" -lt 2000 ] || { echo "first-page: the address did not move in time" >&2; exit 1; }
until_ok 5 page
