#!/usr/bin/env bash
# object.sh: the object API of four nodes on this machine: each put is on the
# disks of a quorum before it is answered. R rounds of D seconds. PORT.. to PORT+2
# are used, on 127.0.0.10 to 127.0.0.14 and 127.0.1.1. Peers that are not
# installed are named as skipped.
set -euo pipefail
cd "$(dirname "$0")/../.."
. demos/bench/lib.sh
lacks object wrk taskset curl && exit 0
[ "$(uname)" = Linux ] || { echo "skipped bench/object: the demo needs Linux"; exit 0; }
bin/rainvideo demo --empty --dir "$dir/demo" --preset lan --vips 1 --port "$PORT" --admin-port $((PORT + 1)) --ring-port $((PORT + 2)) >"$dir/log" 2>&1 & pids+=($!)
for _ in $(seq 300); do [ -e "$dir/demo/demo.json" ] && break; sleep 0.2; done
ctl() { bin/rainctl --cluster "$dir/demo/demo.json" "$@"; }
token=$(sed -n 's/.*"token":"\([^"]*\)".*/\1/p' "$dir/demo/demo.json" | head -1)
[ -n "$token" ] || token=$(tr -d ' \n' <"$dir/demo/demo.json" | sed 's/.*"token":"\([^"]*\)".*/\1/')
ctl bucket create bench >/dev/null
head -c 1048576 /dev/urandom >"$dir/1m"
head -c 4096 /dev/urandom >"$dir/4k"
ctl put "$dir/1m" bench/1m >/dev/null
ctl put "$dir/4k" bench/4k >/dev/null
cat >"$dir/put.lua" <<'LUA'
local body, n
function init()
  local f = assert(io.open(os.getenv("BODY"), "rb")); body = f:read("a") or f:read("*a"); f:close()
  n = os.time() * 1000
end
function request() n = n + 1; return wrk.format("PUT", "/api/v1/objects/bench/p" .. (n % 500), nil, body) end
LUA
at=http://127.0.0.11:$((PORT + 1))/api/v1/objects/bench
auth=(-H "Authorization: Bearer $token")
for r in $(seq "$R"); do
	for f in 4k:16 1m:4; do
		line "object get ${f%:*}" "$r" rain "$(rate "${f#*:}" "$at/${f%:*}" "${auth[@]}")"
		put=$(BODY=$dir/${f%:*} rate "${f#*:}" "$at/" "${auth[@]}" -s "$dir/put.lua")
		# wrk counts what comes back; what went there is what matters.
		line "object put ${f%:*}" "$r" rain "$(awk -v n="$(wc -c <"$dir/${f%:*}")" '{print $1, $1 * n / 1e6, $3, $4}' <<<"$put")"
	done
done
for peer in minio garage; do lacks "object/$peer" "$peer" || echo "skipped bench/object/$peer: installed, and not part of this bench"; done
