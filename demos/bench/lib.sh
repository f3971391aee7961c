# lib.sh: what the parts of the bench share; source it from the repository's root.
# Sets dir (a scratch folder that goes at the end) and pids (stopped at the end).
export PATH=$PATH:/usr/sbin
R=${R:-3} D=${D:-3} PORT=${PORT:-23080}
dir=$(mktemp -d)
chmod 755 "$dir"
pids=()
# One that has ended already is no fault, and a server's exit code says nothing
# of the measurement.
finish() {
	for p in "${pids[@]}"; do kill -TERM "$p" 2>/dev/null || true; done
	for p in "${pids[@]}"; do wait "$p" 2>/dev/null || true; done
	pids=()
}
trap 'finish; rm -rf "$dir"' EXIT
trap 'exit 130' INT TERM
# lacks NAME PROGRAM...: says what is skipped, and succeeds, if a program is missing.
lacks() {
	local name=$1 p
	shift
	for p in "$@"; do
		command -v "$p" >/dev/null || { echo "skipped bench/$name: $p is not installed"; return 0; }
	done
	return 1
}
# rate CONNECTIONS URL [WRK ARGUMENTS...] prints: requests/s MB/s p99-ms errors
rate() {
	local c=$1 url=$2
	shift 2
	taskset -c 1 wrk -t1 -c"$c" -d"${D}s" --latency "$@" "$url" | awk '
		function ms(s) { return s ~ /us$/ ? s / 1000 : s ~ /ms$/ ? s + 0 : s * 1000 }
		function mb(s) { return s ~ /GB$/ ? s * 1073.74 : s ~ /MB$/ ? s * 1.04858 : s ~ /KB$/ ? s * 0.001024 : s / 1e6 }
		/ 99% /{p = ms($2)} /Requests\/sec/{r = $2} /Transfer\/sec/{m = mb($2)}
		/Non-2xx/{e += $NF} /Socket errors/{gsub(",", ""); e += $4 + $6 + $8 + $10}
		END {printf "%.0f %.1f %.2f %d\n", r, m, p, e}'
}
# line WHAT ROUND NAME RESULT prints one measurement.
line() { awk -v w="$1" -v r="$2" -v n="$3" '{printf "%s, round %d: %-6s %7d/s %8.1f MB/s, p99 %.2f ms%s\n", w, r, n, $1, $2, $3, $4 ? ", " $4 " ERRORS" : ""}' <<<"$4"; }
# answers URL waits until it does.
answers() {
	for _ in $(seq 150); do
		curl -sf -o /dev/null "$1" && return 0
		sleep 0.2
	done
	echo "bench: $1 does not answer" >&2
	return 1
}
# nginx_on PORT ROOT starts nginx with one worker on core 0.
nginx_on() {
	cat >"$dir/nginx.conf" <<CONF
worker_processes 1; daemon off; pid $dir/nginx.pid; error_log stderr crit;
events { worker_connections 1024; }
http { access_log off; sendfile on; keepalive_requests 1000000; open_file_cache max=1000;
 client_body_temp_path $dir/t1; proxy_temp_path $dir/t2; fastcgi_temp_path $dir/t3; uwsgi_temp_path $dir/t4; scgi_temp_path $dir/t5;
 server { listen 127.0.0.1:$1; root $2; } }
CONF
	chmod -R a+rX "$2"
	taskset -c 0 nginx -c "$dir/nginx.conf" & pids+=($!)
}
