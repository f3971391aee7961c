#!/usr/bin/env bash
# vip-node.sh: one node of a cluster that holds $VIP on $IF and serves
# http://$VIP/tiny, in the foreground. It is the node command of a comparison of
# fail-over times with other programs: run it once in the network namespace of each
# node, as root. Environment:
#   NODE (1..) NODES IF IP VIP PREFIX PEERS (comma list of all nodes' addresses)
#   WORK   a scratch folder; what a machine would have on disk is kept beside it
#   PRESET lan (default), fast, laptop or wan
# The key and token are made from public text: never use them elsewhere.
set -euo pipefail
bin=$(cd "$(dirname "$0")/../../bin" && pwd)
disk=$(dirname "$WORK")/rain-$NODE
mkdir -p "$disk"
cd "$disk"
umask 077
printf 'key of a benchmark, not a secret' | base64 >key
printf 'bench-token-not-a-secret\n' >token
founders= n=0
{
	for p in ${PEERS//,/ }; do
		n=$((n + 1))
		founders=$founders${founders:+, }\"0.1.0.$n\"
		printf '[[peer]]\nid = "0.1.0.%d"\nname = "n%d"\nlinks = ["%s:7400"]\n' "$n" "$n" "$p"
	done
} >peers
{
	printf '[node]\nname = "n%d"\nid = "0.1.0.%d"\ndata = "data"\n' "$NODE" "$NODE"
	printf '[cluster]\nname = "bench"\nkey_file = "key"\npreset = "%s"\nfounders = [%s]\n' "${PRESET:-lan}" "$founders"
	printf '[[link]]\nname = "a"\nlisten = "%s:7400"\n' "$IP"
	cat peers
	printf '[web]\nlisten = ["%s:80"]\nvip_port = 80\n' "$IP"
	printf '[admin]\nlisten = "%s:8081"\ntoken_file = "token"\n' "$IP"
	printf '[vip]\ndriver = "linux"\n[[vip.pool]]\nname = "web"\ninterface = "%s"\naddresses = ["%s/%s"]\n' "$IF" "$VIP" "$PREFIX"
} >node.toml
if [ "$NODE" = 1 ] && ! [ -e published ]; then
	mkdir -p site
	echo tiny >site/tiny
	chmod -R a+rX site
	(
		until "$bin/rainctl" --admin "http://$IP:8081" --token-file token site publish site bench.rain --default >/dev/null 2>&1; do sleep 0.2; done
		touch published
	) &
fi
# The shell goes: whoever ends the process group ends the node itself.
exec "$bin/snow" run --config node.toml
