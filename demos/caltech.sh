#!/usr/bin/env bash
# The demonstration of the seeds: ten hosts with two interfaces each on four
# switches. Films play in three of the hosts by 'rainvideo play', and in a client
# over the virtual addresses, there also in a real browser (headless Chromium by
# Playwright; without them that row says so), while somebody breaks links, interfaces, switches and
# hosts at random, and mends them again, always leaving so many nodes connected
# that no film may be lost. In the end there is a report, and a picture of what was
# broken when and what each viewer saw.
#
# usage: caltech.sh [--for 10m] [--seed N] [--preset laptop] [--out DIR] [--at-once N] [--every 4s]
# It exits 0 only if no film was lost. Needs root on Linux (network namespaces),
# go (or RAIN_BIN with lab, rainvideo and rainctl), and some free processors: ten
# nodes on two noisy ones is the least. With ffmpeg the film is made for it; without
# it is the demo's, which is small. TMPDIR=/dev/shm leaves the disk out of it.
set -uo pipefail

here=$(cd "$(dirname "$0")/.." && pwd)
length=10m seed=1 preset=laptop out=$PWD/caltech once=3 every=4s
while [ $# -gt 0 ]; do
	case $1 in
	--for) length=$2 ;;
	--seed) seed=$2 ;;
	--preset) preset=$2 ;;
	--out) out=$2 ;;
	--at-once) once=$2 ;;
	--every) every=$2 ;;
	*) sed -n '2,/^set/p' "$0" | sed 's/^# \{0,1\}//; /^set/d' >&2; exit 2 ;;
	esac
	shift 2 || exit 2
done
say() { echo "caltech: $*" >&2; }
if [ "$(id -u)" != 0 ] || [ ! -e /dev/net/tun ]; then
	echo "skipped caltech: it needs root on Linux, and /dev/net/tun"
	exit 0
fi

work=$(mktemp -d "${TMPDIR:-/tmp}/rain-caltech-XXXXXX")
leash=''
cleanup() {
	local status=$?
	if [ $status != 0 ] && [ -d "$out" ]; then # what the laboratory and its nodes have to say
		cp "$work/lab/lab.log" "$out/" 2>/dev/null
		for n in "$work"/lab/n*/; do tail -n 300 "$n/node.log" >"$out/$(basename "$n").log" 2>/dev/null; done
	fi
	# The laboratory ends when its standard input does, however this script ended.
	[ -z "$leash" ] || { exec 3>&-; wait "$leash" 2>/dev/null; }
	rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT TERM HUP

BIN=${RAIN_BIN:-}
if [ -z "$BIN" ]; then
	BIN=$work/bin
	say "building"
	# The browser wants the film's player, which npm builds; without it is told as skipped.
	[ -e "$here/assets/dist/player.js" ] || make -s -C "$here" assets >&2
	(cd "$here" && go build -o "$BIN/" ./demos/lab ./cmd/rainvideo ./cmd/rainctl) || exit 1
fi

# A film of 2 Mbit/s, five minutes: its viewers have little of it beforehand.
mkdir -p "$out" || exit 1
film=$here/assets/film/demo.mp4
if command -v ffmpeg >/dev/null; then
	say "making the film"
	ffmpeg -v error -f lavfi -i testsrc2=size=640x360:rate=25 -f lavfi -i sine=frequency=220 -t 30 -c:v libx264 -preset ultrafast \
		-b:v 1900k -minrate 1900k -maxrate 1900k -bufsize 1900k -x264-params nal-hrd=cbr:keyint=50:scenecut=0 -pix_fmt yuv420p -c:a aac -b:a 96k "$work/part.mp4" </dev/null &&
		ffmpeg -v error -stream_loop 9 -i "$work/part.mp4" -c copy -movflags +faststart "$work/film.mp4" </dev/null && film=$work/film.mp4
fi

export RAIN_LAB=$work/lab
plan=$work/caltech.toml
sed "s/^preset = .*/preset = \"$preset\"\ncode = \"10,4\"/" "$here/demos/lab/caltech.toml" >"$plan"
mkfifo "$work/leash"
"$BIN/lab" up "$plan" --bound --program "$BIN/rainvideo" --seed "$seed" <"$work/leash" >"$work/up.log" 2>&1 &
leash=$!
exec 3>"$work/leash"

ctl() { "$BIN/lab" exec n1 "$BIN/rainctl" --cluster "$RAIN_LAB/lab.json" "$@"; }
within() { # SECONDS COMMAND...
	local end=$((SECONDS + $1))
	shift
	until "$@" >"$work/said" 2>&1; do
		[ $SECONDS -lt $end ] || { say "not within its time: $*"; cat "$work/said" "$work/up.log" >&2; exit 1; }
		sleep 0.5
	done
}
ready() { [ "$(ctl --get ring.primary status)" = true ] && [ "$(ctl --get health status)" = ok ]; }
within 120 ready
say "ten nodes are up; adding the film"
within 120 ctl video add "$film" --name show
size=$(stat -c %s "$film")
length_ms=$(ctl --json video ls | grep -o '"duration_ms":[0-9]*' | head -1 | cut -d: -f2)
rate=$((size * 1000 / ${length_ms:?no film}))
say "film of $size bytes, $rate a second; breaking for $length"
"$BIN/lab" show "$plan" --player "$BIN/rainvideo" --rate "$rate" --play n1,n6,n9 \
	--watch http://10.77.100.1:8080/video/show/index.m3u8 --watch http://10.77.100.2:8080/video/show/index.m3u8 \
	--page http://10.77.100.2:8080/video/show/ --browser "$here/demos/film-view.mjs" \
	--for "$length" --seed "$seed" --at-once "$once" --every "$every" --out "$out"
