#!/usr/bin/env bash
# Figures beside peers, in one run on this machine: nginx and RAIN serve the same
# files, each on core 0, with wrk on core 1, in turn. Then the gaps of a client
# that never retries, and what an idle cluster costs.
# Needs nginx, wrk, taskset; says what it skipped. R=rounds D=seconds of each.
set -euo pipefail
cd "$(dirname "$0")/../.."
R=${R:-3} D=${D:-3} PORT=${PORT:-23080}
export PATH=$PATH:/usr/sbin
dir=$(mktemp -d)
pids=()
end() { for p in "${pids[@]}"; do kill -TERM "$p" 2>/dev/null || true; done; wait; rm -rf "$dir"; }
trap end EXIT
mkdir -p "$dir/root"
chmod 755 "$dir" "$dir/root"
head -c 1024 /dev/urandom >"$dir/root/1k.bin"
head -c 1048576 /dev/urandom >"$dir/root/1m.bin"
chmod 644 "$dir"/root/*
rate() { # URL CONNECTIONS -> requests per second
	taskset -c 1 wrk -t1 -c"$2" -d"${D}s" "$1" | awk '/Requests\/sec/ {print $2}'
}
if command -v nginx >/dev/null && command -v wrk >/dev/null && command -v taskset >/dev/null; then
	cat >"$dir/nginx.conf" <<CONF
worker_processes 1; daemon off; pid $dir/nginx.pid; error_log stderr crit;
events { worker_connections 1024; }
http { access_log off; sendfile on; keepalive_requests 1000000; open_file_cache max=100;
 client_body_temp_path $dir/t1; proxy_temp_path $dir/t2; fastcgi_temp_path $dir/t3; uwsgi_temp_path $dir/t4; scgi_temp_path $dir/t5;
 server { listen 127.0.0.1:$PORT; root $dir/root; } }
CONF
	taskset -c 0 nginx -c "$dir/nginx.conf" & pids+=($!)
	taskset -c 0 demos/bench/serve.sh "$dir/root" $((PORT + 1)) & pids+=($!)
	for _ in $(seq 100); do
		curl -sf -o /dev/null "http://127.0.0.1:$((PORT + 1))/1m.bin" && curl -sf -o /dev/null "http://127.0.0.1:$PORT/1m.bin" && break
		sleep 0.2
	done
	for f in 1k.bin:64 1m.bin:16; do
		for r in $(seq "$R"); do
			a=$(rate "http://127.0.0.1:$PORT/${f%:*}" "${f#*:}")
			b=$(rate "http://127.0.0.1:$((PORT + 1))/${f%:*}" "${f#*:}")
			awk -v f="${f%:*}" -v r="$r" -v a="$a" -v b="$b" 'BEGIN {printf "web %s round %d: nginx %.0f/s, rain %.0f/s, ratio %.2f\n", f, r, a, b, b/a}'
		done
	done
	for p in "${pids[@]}"; do kill -TERM "$p"; done
	wait "${pids[@]}" || true
	pids=()
else
	echo "skipped bench/web: nginx, wrk or taskset is not installed"
fi
go build -o "$dir/trial" ./cmd/internal/trial
"$dir/trial" idle -preset lan
"$dir/trial" gaps -n "$R"
"$dir/trial" gaps -n "$R" -preset lan
echo "load $(cut -d' ' -f1-3 /proc/loadavg)"
