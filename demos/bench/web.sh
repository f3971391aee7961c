#!/usr/bin/env bash
# web.sh: nginx and RAIN serve the same files, each on core 0, with wrk on core 1,
# in turn. R rounds of D seconds. PORT.. to PORT+3 are used.
set -euo pipefail
cd "$(dirname "$0")/../.."
. demos/bench/lib.sh
lacks web nginx wrk taskset curl && exit 0
mkdir "$dir/root"
head -c 1024 /dev/urandom >"$dir/root/1k.bin"
head -c 1048576 /dev/urandom >"$dir/root/1m.bin"
nginx_on "$PORT" "$dir/root"
taskset -c 0 demos/bench/serve.sh "$dir/root" $((PORT + 1)) & pids+=($!)
answers "http://127.0.0.1:$((PORT + 1))/1m.bin"
answers "http://127.0.0.1:$PORT/1m.bin"
for f in 1k.bin:64 1m.bin:16; do
	for r in $(seq "$R"); do
		a=$(rate "${f#*:}" "http://127.0.0.1:$PORT/${f%:*}")
		b=$(rate "${f#*:}" "http://127.0.0.1:$((PORT + 1))/${f%:*}")
		line "web ${f%:*}" "$r" nginx "$a"
		line "web ${f%:*}" "$r" rain "$b"
		awk -v a="${a%% *}" -v b="${b%% *}" 'BEGIN {printf "  ratio %.2f\n", b / a}'
	done
done
for peer in caddy varnishd haproxy; do lacks "web/$peer" "$peer" || echo "skipped bench/web/$peer: installed, and not part of this bench"; done
