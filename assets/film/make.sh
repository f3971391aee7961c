#!/usr/bin/env bash
# Makes demo.mp4 and its poster demo.jpg, the film of the demo: rain on water and a ring that heals.
# Needs node 20 and ffmpeg with libx264 and drawtext, and about two minutes.
# The result is committed, so nobody needs to run this.
set -euo pipefail
cd "$(dirname "$0")"
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
font=${FONT:-/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf}

text() { # FROM TO SIZE Y TEXT: a line that fades in and out
	printf "drawtext=fontfile=%s:text='%s':fontsize=%s:fontcolor=white:x=(w-tw)/2:y=%s:alpha='if(between(t,%s,%s),min(1,min((t-%s)/0.6,(%s-t)/0.6)),0)'," \
		"$font" "$5" "$3" "$4" "$1" "$2" "$1" "$2"
}
lines=$(
	text 1.2 5.6 64 190 RAIN
	text 2.0 5.6 20 275 'a film that lies on four boxes'
	text 9 14.5 19 436 'a token goes round, and who has it speaks'
	text 16.3 22.5 19 436 'one box dies. the ring closes, the film goes on'
	text 27.3 32 19 436 'it comes back, and gets what it missed'
	text 34.3 37.2 19 436 'another one dies'
	text 37.8 44.5 19 436 'and another one. two are left, and they have it all'
	text 48.8 53.5 19 436 'all four again'
	text 54 58.6 26 210 'now pull a plug'
)
node rain.mjs --sound >"$tmp/sound.pcm"
node rain.mjs | ffmpeg -v error -y -f rawvideo -pix_fmt rgb24 -s 854x480 -r 25 -i - \
	-vf "${lines}format=yuv420p" -c:v libx264 -preset ultrafast -qp 4 "$tmp/whole.mkv"
# A key frame every 2 s, so that segments have 2 s.
for pass in 1 2; do
	if [ $pass = 1 ]; then
		ffmpeg -v error -y -i "$tmp/whole.mkv" -c:v libx264 -preset slow -profile:v high -b:v "${BITRATE:-300k}" -g 50 -keyint_min 50 -sc_threshold 0 \
			-pass 1 -passlogfile "$tmp/log" -an -f null -
	else
		ffmpeg -v error -y -i "$tmp/whole.mkv" -f s16le -ar 44100 -ac 2 -i "$tmp/sound.pcm" \
			-c:v libx264 -preset slow -profile:v high -b:v "${BITRATE:-300k}" -maxrate 700k -bufsize 1400k -g 50 -keyint_min 50 -sc_threshold 0 \
			-pass 2 -passlogfile "$tmp/log" -c:a aac -b:a 64k -movflags +faststart -map_metadata -1 -fflags +bitexact -f mp4 demo.mp4
	fi
done
ffmpeg -v error -y -ss 12.4 -i demo.mp4 -frames:v 1 -q:v 5 -map_metadata -1 demo.jpg
ls -l demo.mp4 demo.jpg
