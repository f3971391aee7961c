#!/usr/bin/env bash
# Pulls the plug of nodes while the site is being watched, and checks what RAIN
# promises:
#   crash, freeze   the address is served again within GAP_MS by another node,
#                   the other address does not notice
#   none            nothing is done and nothing fails: else the machine is too
#                   busy for its nodes to keep their leases, and the rest
#                   measures that
#   thaw, start     nobody notices
#   stop (TERM)     not one request fails, no download is cut
#   two in a row    served again after each
# Where the machine itself stood still for more than LATE_MS, the watch notices by
# its own clock: then failures and gaps of that round are told, and not judged
# ("skipped plug/ROUND: ...").
# Always: every answer is the same page byte for byte, every whole download and
# every stored object has the right hash.
#
# In each round a download of 64 MiB runs, as fast as it takes to last through the
# fault. When it breaks it is resumed where it broke (Range), and counted as
# interrupted; what comes in the end must have the right hash. And a film is
# played: an HLS client takes its segments in order, never more than 3 s before
# they are shown, each from the address that answered last or else from the other
# one. It must not stall, and every segment must be what all nodes send.
#
# usage: pull-the-plug.sh [--json] [--cluster DEMO.JSON] [--port N]
# Without --cluster it starts a demo of its own: ports N, N+1 and N+2, default
# 18780. It exits 0 only if all promises held. Needs bash, curl and bin/.
set -uo pipefail

here=$(cd "$(dirname "$0")/.." && pwd)
BIN=${RAIN_BIN:-$here/bin}
GAP_MS=${GAP_MS:-1000} # the longest gap after a crash or freeze
# When the token's holder dies, the others' leases of 180 ms (preset laptop) have
# about 40 ms left when the next token comes: a machine that stands still for
# longer takes them away, and the watch sees that by its own clock.
LATE_MS=${LATE_MS:-30}
json=0 cluster='' port=18780 demo_pid='' published=0
HOST=plug.rain BUCKET=pull-the-plug FILM=pull-the-plug
LONG=$((64 << 20)) # bytes of the long download
AHEAD_MS=3000      # how long before it is shown a segment is asked for

usage() { sed -n '2,/^set -/{/^set -/d;s/^# \{0,1\}//;p}' "$0"; }
while [ $# -gt 0 ]; do
	case $1 in
	--json) json=1 ;;
	--cluster) cluster=${2:?--cluster needs a file}; shift ;;
	--port) port=${2:?--port needs a number}; shift ;;
	-h | --help) usage; exit 0 ;;
	*) echo "pull-the-plug: unknown argument $1" >&2; usage >&2; exit 2 ;;
	esac
	shift
done

tmp=$(mktemp -d)
say() { echo "pull-the-plug: $*" >&2; }
die() { say "$*"; exit 1; }
ctl() { "$BIN/rainctl" --cluster "$cluster" "$@"; }
sha() { if command -v sha256sum >/dev/null; then sha256sum "$@"; else shasum -a 256 "$@"; fi | cut -d' ' -f1; }

# control NODE VERB asks the demo; the token stays off the command line.
control() {
	printf 'header = "Authorization: Bearer %s"\n' "$token" |
		curl -fsS -m 10 -K - -X POST "$ctrl/nodes/$1/$2" >/dev/null || die "$2 $1: the demo's control address refused"
}

cleanup() {
	trap - EXIT INT TERM
	local p
	for p in $(jobs -p); do [ "$p" = "$demo_pid" ] || kill "$p" 2>/dev/null; done
	if [ -n "$demo_pid" ]; then
		kill -TERM "$demo_pid" 2>/dev/null
		wait "$demo_pid" 2>/dev/null
	elif [ "$published" = 1 ]; then
		repair
		ctl site rm $HOST >/dev/null 2>&1
		ctl rm $BUCKET/big >/dev/null 2>&1
		ctl video rm $FILM >/dev/null 2>&1
	fi
	rm -rf "$tmp"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# repair brings back whatever node is not running.
repair() {
	local i n state
	for ((i = 0; i < nodes; i++)); do
		n=$(ctl cluster --get "nodes.$i.name") || return
		state=$(ctl cluster --get "nodes.$i.state") || return
		case $state in
		frozen) control "$n" thaw ;;
		running) ;;
		*) control "$n" start ;;
		esac
	done
}

# settled waits until all nodes are up and every address is held.
settled() {
	local i
	for ((i = 0; i < 300; i++)); do
		if ctl --timeout 2s status --check >/dev/null 2>&1; then
			sleep 0.5 # what just came up shall not be measured with
			ctl --timeout 2s status --check >/dev/null 2>&1 && return 0
		fi
		sleep 0.2
	done
	ctl status >&2
	die "the cluster did not become healthy within 60 s"
}

# holder ADDR:PORT prints who holds it.
holder() {
	local i n a
	n=$(ctl status --get vips.#) || return 1
	for ((i = 0; i < n; i++)); do
		a=$(ctl status --get "vips.$i.addr") || return 1
		if [ "$a" = "$1" ] || [ "$a" = "${1%:*}" ]; then
			ctl status --get "vips.$i.holder"
			return
		fi
	done
	return 1
}

# num FILE FIELD takes a number out of one line of JSON.
num() { grep -oE "\"$2\":[0-9.]+" "$1" | head -n 1 | cut -d: -f2; }
over() { awk -v a="$1" -v b="$2" 'BEGIN { exit !(a > b) }'; }

# downloads FILE fetches the large file until FILE.stop exists and counts.
downloads() {
	local whole=0 cut=0 wrong=0
	while [ ! -e "$1.stop" ]; do
		if curl -fsS -m 8 -H "Host: $HOST" -o "$1.body" "http://$vip/big.bin" 2>>"$1.err"; then
			whole=$((whole + 1))
			[ "$(sha "$1.body")" = "$big_sha" ] || wrong=$((wrong + 1))
		else
			cut=$((cut + 1))
		fi
	done
	echo "{\"whole\":$whole,\"cut\":$cut,\"wrong\":$wrong}" >"$1"
}

now_ms() { local t=${EPOCHREALTIME//[.,]/}; echo $((t / 1000)); }

# long_download FILE SECONDS fetches the long file so that it takes that long, and
# goes on where it was cut. Gives up a minute later.
long_download() {
	local got=0 cut=0 until=$(($(now_ms) + $2 * 1000 + 60000)) state=whole
	rm -f "$1.body"
	while [ "$got" -lt $LONG ]; do
		if ! curl -fsS -C "$got" --connect-timeout 1 --limit-rate $((LONG / $2)) --speed-limit 1000 --speed-time 2 -H "Host: $HOST" "http://$vip/long.bin" >>"$1.body" 2>>"$1.err"; then
			[ $(($(stat -c %s "$1.body"))) -gt "$got" ] && cut=$((cut + 1)) # a refused connection interrupts nothing anew
			sleep 0.1
		fi
		got=$(stat -c %s "$1.body")
		[ "$(now_ms)" -lt $until ] || break
	done
	[ "$(sha "$1.body")" = "$long_sha" ] || state=wrong
	echo "{\"size_bytes\":$got,\"interrupted\":$cut,\"state\":\"$state\"}" >"$1"
	rm -f "$1.body"
}

# film_client FILE SECONDS plays the film that long, in real time, and counts.
film_client() {
	local begin=0 shown=0 segments=0 stalls=0 stalled=0 wrong=0 tries=0 after=0 n now due at=$vip nodes='' i
	local end=$(($(now_ms) + $2 * 1000))
	for ((n = 0; n < ${#seg_ms[@]}; n++)); do
		now=$(now_ms)
		[ "$now" -lt $end ] || break
		if [ "$segments" -gt 0 ]; then # shown: when this one is due, from the film's beginning
			due=$((begin + shown + stalled))
			[ $((due - AHEAD_MS)) -le "$now" ] || sleep "$(awk -v ms=$((due - AHEAD_MS - now)) 'BEGIN { print ms / 1000 }')"
			[ "$(now_ms)" -lt $end ] || break
		fi
		# A frozen holder takes the connection and is silent.
		until curl -fsS --connect-timeout 0.4 -m 0.8 -D "$1.head" -o "$1.seg" "http://$at/video/$FILM/seg-$n.m4s" 2>>"$1.err"; do
			tries=$((tries + 1))
			if [ "$at" = "$vip" ]; then at=$other; else at=$vip; fi
			[ "$(now_ms)" -lt $((end + 10000)) ] || break 2
		done
		now=$(now_ms)
		[ "$(sha "$1.seg")" = "${seg_sha[n]}" ] || wrong=$((wrong + 1))
		i=$(tr -d '\r' <"$1.head" | awk 'tolower($1) == "x-rain-node:" { print $2 }')
		case " $nodes " in *" $i "*) ;; *) nodes="${nodes:+$nodes }$i" ;; esac
		if [ "$segments" = 0 ]; then
			begin=$now
		elif [ "$now" -gt $due ]; then
			stalls=$((stalls + 1)) stalled=$((stalled + now - due))
		fi
		[ -e "$tmp/acted" ] && after=$((after + 1))
		segments=$((segments + 1)) shown=$((shown + seg_ms[n]))
	done
	echo "{\"segments\":$segments,\"after_the_fault\":$after,\"stalls\":$stalls,\"stalled_ms\":$stalled,\"tried_again\":$tries,\"wrong\":$wrong,\"nodes\":\"$nodes\"}" >"$1"
}

rows=() objects=() failed=0
broke() { broken+=("$1"); failed=1; }
# late_broke is for promises in time: a machine that stood still breaks them all.
late_broke() { if over "$late" "$LATE_MS"; then excused+=("$1"); else broke "$1"; fi; }

# fault_round NAME SECONDS: watches both addresses and the download loop while the
# function act does its worst to $victim, then judges.
fault_round() {
	local name=$1 secs=$2 w="$tmp/watch" o="$tmp/other" d="$tmp/downloads" l="$tmp/long" v="$tmp/film" before after wp op dp lp vp
	broken=() excused=()
	rm -f "$d" "$d.stop" "$d.err" "$l"* "$v"* "$tmp/acted"
	before=$(holder "$vip") || die "nobody knows who holds $vip"
	"$BIN/rainctl" --json watch "http://$vip/" --host $HOST --sha256 "$page_sha" --every 5ms --for "${secs}s" >"$w" & wp=$!
	"$BIN/rainctl" --json watch "http://$other/" --host $HOST --sha256 "$page_sha" --every 10ms --for "${secs}s" >"$o" & op=$!
	downloads "$d" & dp=$!
	long_download "$l" "$secs" & lp=$!
	film_client "$v" "$secs" & vp=$!
	sleep 1.5
	touch "$tmp/acted"
	act
	wait "$wp" || broke "$vip was not served at all"
	wait "$op" || broke "$other was not served at all"
	touch "$d.stop"
	wait "$dp"
	wait "$vp"
	wait "$lp"
	after=$(holder "$vip") || after=nobody
	local f g of whole cut late li stalls
	late=$( (num "$w" late_ms; num "$o" late_ms) | sort -g | tail -n 1)
	f=$(num "$w" failed) g=$(num "$w" longest_gap_ms) of=$(num "$o" failed)
	whole=$(num "$d" whole) cut=$(num "$d" cut)
	li=$(num "$l" interrupted) stalls=$(num "$v" stalls)
	[ "$(num "$d" wrong)" = 0 ] || broke "a whole download had another hash"
	grep -q '"state":"whole"' "$l" || broke "the long download did not come whole: $(cat "$l")"
	[ "$(num "$v" wrong)" = 0 ] || broke "a segment of the film differed"
	[ "$(num "$v" after_the_fault)" -ge 1 ] || late_broke "no segment of the film came after the fault"
	[ "$stalls" = 0 ] || late_broke "the film stalled $stalls times, $(num "$v" stalled_ms) ms in all"
	grep -q 'body: differs' "$w" "$o" && broke "a page differed"
	[ "$of" = 0 ] || late_broke "$other noticed: $of failed"
	case $name in
	crash | freeze | two*) over "$g" "$GAP_MS" && late_broke "the gap was $g ms, more than $GAP_MS ms"
		[ "$after" != "$victim" ] && [ "$after" != nobody ] || broke "nobody took $vip over" ;;
	stop) [ "$cut" = 0 ] || late_broke "$cut downloads were cut" ;;&
	none | stop | thaw | start*)
		[ "$f" = 0 ] || late_broke "$f requests failed"
		[ "$li" = 0 ] || late_broke "the long download was interrupted $li times"
		;;
	esac
	local ok=true
	[ ${#broken[@]} = 0 ] || ok=false
	rows+=("$(printf '%-12s %-6s %7s %9s ms  %-6s %7s %6s/%s %6s %5s/%s  %s' "$name" "$victim" "$f" "$g" "$after" "$of" "$whole" "$cut" "$li" "$(num "$v" segments)" "$stalls" "$([ $ok = true ] && verdict || echo "BROKEN: ${broken[*]}")")")
	objects+=("{\"fault\":\"$name\",\"node\":\"$victim\",\"held_by_before\":\"$before\",\"failed\":$f,\"longest_gap_ms\":$g,\"taken_over_by\":\"$after\",\"other_failed\":$of,\"downloads\":$whole,\"downloads_cut\":$cut,\"ok\":$ok,\"broken\":\"${broken[*]-}\",\"excused\":\"${excused[*]-}\",\"machine_late_ms\":$late,\"long_download\":$(cat "$l"),\"film\":$(cat "$v"),\"watch\":$(cat "$w"),\"other_watch\":$(cat "$o")}")
	[ ${#excused[@]} = 0 ] || say "skipped plug/${name// /_}: the machine stood still for $late ms, more than $LATE_MS ms: ${excused[*]}"
	local reasons
	reasons=$(grep -ohE '"reasons":\{[^}]*\}' "$w" "$o" | cut -d: -f2- | tr '\n' ' ')
	say "$name $victim: $f failed, longest gap $g ms, $vip now at $after; 64 MiB download interrupted $li times, film stalled $stalls times, from $(grep -o '"nodes":"[^"]*"' "$v" | cut -d: -f2); failures on each address: $reasons${broken[*]:+; BROKEN: ${broken[*]}}"
}

# verdict is the round's word when nothing is broken.
verdict() { if [ ${#excused[@]} = 0 ]; then echo held; else echo "not judged: the machine stood still"; fi; }

# nothing_lost reads the stored object back.
nothing_lost() {
	if ! ctl get $BUCKET/big "$tmp/back" >/dev/null || [ "$(sha "$tmp/back")" != "$big_sha" ]; then
		say "BROKEN: the stored object is lost or changed $1"
		failed=1 lost="$1"
	fi
}
lost=''

# playlist reads how long each segment of the film is, and what it must be.
playlist() {
	local n=0 line
	seg_ms=() seg_sha=()
	local patient=(--retry 20 --retry-delay 1 --retry-connrefused -m 30) # nothing is measured yet
	curl -fsS "${patient[@]}" -o "$tmp/playlist" "http://$vip/video/$FILM/media.m3u8" 2>>"$tmp/curl.err" || die "the film has no playlist"
	while read -r line; do
		case $line in
		'#EXTINF:'*) seg_ms+=("$(awk -v s="${line#*:}" 'BEGIN { printf "%d", s * 1000 }')") ;;
		seg-*)
			curl -fsS "${patient[@]}" -o "$tmp/segment" "http://$vip/video/$FILM/seg-$n.m4s" 2>>"$tmp/curl.err" || die "segment $n of the film is not there"
			seg_sha+=("$(sha "$tmp/segment")")
			n=$((n + 1))
			;;
		esac
	done <"$tmp/playlist"
	[ "$n" -ge 10 ] && [ "$n" = ${#seg_ms[@]} ] || die "the playlist has $n segments and ${#seg_ms[@]} lengths"
}

for p in rainctl rainvideo; do [ -x "$BIN/$p" ] || die "$BIN/$p is not there; run 'make build' first"; done
if [ -z "$cluster" ]; then
	cluster=$tmp/demo/demo.json
	"$BIN/rainvideo" demo --dir "$tmp/demo" --nodes 4 --vips 2 --port "$port" --admin-port $((port + 1)) --ring-port $((port + 2)) --empty >"$tmp/demo.log" 2>&1 &
	demo_pid=$!
	for ((i = 0; i < 300; i++)); do
		[ -f "$cluster" ] && break
		kill -0 "$demo_pid" 2>/dev/null || { cat "$tmp/demo.log" >&2; demo_pid=''; die "the demo did not start"; }
		sleep 0.2
	done
	[ -f "$cluster" ] || { cat "$tmp/demo.log" >&2; die "the demo was not ready within 60 s"; }
fi
token=$(ctl cluster --get token) && ctrl=$(ctl cluster --get control) && nodes=$(ctl cluster --get nodes.#) || die "$cluster is no demo.json"
vip=$(ctl cluster --get vips.0) && other=$(ctl cluster --get vips.1) || die "two virtual addresses are needed"
[ "$nodes" -ge 4 ] || die "four nodes are needed, there are $nodes"

mkdir "$tmp/site"
printf '<!doctype html><title>Pull the plug</title><p>This page stays. %s\n' "$(head -c 600 /dev/urandom | base64 | tr -d '\n')" >"$tmp/site/index.html"
head -c $((8 << 20)) /dev/urandom >"$tmp/site/big.bin"
head -c $LONG /dev/urandom >"$tmp/site/long.bin"
long_sha=$(sha "$tmp/site/long.bin") page_sha=$(sha "$tmp/site/index.html") big_sha=$(sha "$tmp/site/big.bin")
settled
ctl site publish "$tmp/site" $HOST >/dev/null && ctl bucket create $BUCKET >/dev/null || die "the site could not be published"
published=1
rm "$tmp/site/long.bin"
ctl video add "$here/assets/film/demo.mp4" --name $FILM --poster "$here/assets/film/demo.jpg" >/dev/null || die "the film could not be stored"
playlist
ctl put "$tmp/site/big.bin" $BUCKET/big >/dev/null || die "the object could not be stored"

# pick makes the holder of $vip the victim, and sees that it holds nothing else.
pick() {
	settled
	victim=$(holder "$vip") || die "nobody holds $vip"
	[ "$(holder "$other")" != "$victim" ] && return
	local i n
	for ((i = 0; i < nodes; i++)); do
		n=$(ctl cluster --get "nodes.$i.name")
		[ "$n" = "$victim" ] && continue
		ctl vip move "${other%:*}" "$n" >/dev/null || ctl vip move "$other" "$n" >/dev/null || die "$other could not be moved away from $victim"
		sleep 1
		settled
		return
	done
}

pick; act() { :; }; fault_round none 4
act() { control "$victim" crash; }; fault_round crash 6
nothing_lost "after a crash"
act() { control "$victim" start; sleep 2; }; fault_round 'start again' 6
pick; nothing_lost "after a restart"
act() { control "$victim" freeze; }; fault_round freeze 6
act() { control "$victim" thaw; sleep 2; }; fault_round thaw 6
pick; act() { control "$victim" stop; }; fault_round stop 8
control "$victim" start
pick; first=$victim
act() {
	control "$victim" crash
	sleep 3
	victim=$(holder "$vip") || victim=$first
	[ "$victim" != "$(holder "$other")" ] || victim=$(spare)
	control "$victim" crash
}
# spare is a node that runs and does not hold the other address: its death is the
# second one, and the other address must not notice.
spare() {
	local i n
	for ((i = 0; i < nodes; i++)); do
		n=$(ctl cluster --get "nodes.$i.name")
		if [ "$n" != "$first" ] && [ "$n" != "$(holder "$other")" ]; then echo "$n"; return; fi
	done
}
fault_round 'two in a row' 9
nothing_lost "after two deaths"
repair
settled
nothing_lost "after the restart of both"

ok=true
[ $failed = 0 ] || ok=false
if [ $json = 1 ]; then
	(IFS=,; echo "{\"api\":1,\"ok\":$ok,\"gap_limit_ms\":$GAP_MS,\"lost\":\"$lost\",\"rounds\":[${objects[*]}]}")
else
	printf '\n%-12s %-6s %7s %12s  %-6s %7s %9s %5s %8s  %s\n' FAULT NODE FAILED 'LONGEST GAP' HOLDER OTHER 'WHOLE/CUT' '64 MiB CUT' 'FILM/STALLS' PROMISES
	printf '%s\n' "${rows[@]}"
	if [ -n "$lost" ]; then echo "an object was lost $lost"; else echo "nothing was lost"; fi
	[ $ok = true ] && echo "all promises held" || echo "PROMISES WERE BROKEN ($(uptime))"
fi
exit $failed
