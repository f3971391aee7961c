#!/usr/bin/env bash
# video.sh: the demo's film as HLS. RAIN cuts the segments from the stored film as
# they are asked for, and follows each viewer; nginx serves the same bytes as files,
# which somebody has cut before. Each on core 0, wrk on core 1, in turn. Then the
# whole film as one file. R rounds of D seconds. PORT.. to PORT+3 are used.
set -euo pipefail
cd "$(dirname "$0")/../.."
. demos/bench/lib.sh
lacks video nginx wrk taskset curl && exit 0
mkdir -p "$dir/root/video/bench"
echo bench >"$dir/root/index.html"
taskset -c 0 demos/bench/serve.sh "$dir/root" $((PORT + 1)) assets/film/demo.mp4 & pids+=($!)
rain=http://127.0.0.1:$((PORT + 1)) nginx=http://127.0.0.1:$PORT
answers "$rain/video/bench/index.m3u8"
base=$rain/video/bench
media=$(curl -sf "$base/index.m3u8" | grep '^media')
curl -sf "$base/$media" | grep '^seg' >"$dir/list"
while read -r s; do curl -sf -o "$dir/root/video/bench/${s%%\?*}" "$base/$s"; done <"$dir/list"
curl -sf -o "$dir/root/video/bench/film.mp4" "$base/film.mp4"
nginx_on "$PORT" "$dir/root"
answers "$nginx/video/bench/film.mp4"
export LIST=$dir/list
# Each connection walks through the film, as viewers do.
cat >"$dir/walk.lua" <<'LUA'
local paths, n = {}, 0
function init() for l in io.lines(os.getenv("LIST")) do paths[#paths + 1] = "/video/bench/" .. l end end
function request() n = n + 1; return wrk.format("GET", paths[(n - 1) % #paths + 1]) end
LUA
for r in $(seq "$R"); do
	for s in "nginx $nginx" "rain $rain"; do
		line "video segments" "$r" "${s% *}" "$(rate 16 "${s#* }/" -s "$dir/walk.lua")"
	done
	for s in "nginx $nginx" "rain $rain"; do
		line "video film.mp4" "$r" "${s% *}" "$(rate 16 "${s#* }/video/bench/film.mp4")"
	done
done
lacks video/mediamtx mediamtx || echo "skipped bench/video/mediamtx: installed, and not part of this bench"
