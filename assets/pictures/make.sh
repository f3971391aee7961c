#!/usr/bin/env bash
# Makes the pictures of the demo's site. Needs node 20 and ffmpeg, and some
# minutes. The result is committed, so nobody needs to run this. Each picture is
# larger than 64 KiB, so that it is striped over the nodes.
set -euo pipefail
cd "$(dirname "$0")"
jpeg() { # NAME QUALITY (2 best, 31 worst)
	node draw.mjs "$1" | ffmpeg -v error -y -f rawvideo -pix_fmt rgb24 -s 1280x800 -i - \
		-frames:v 1 -q:v "$2" -map_metadata -1 -fflags +bitexact "../site/pictures/$1.jpg"
}
jpeg glass 4
jpeg waves 2
jpeg boxes 2
ls -l ../site/pictures
