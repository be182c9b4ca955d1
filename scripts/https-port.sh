#!/usr/bin/env bash
# https-port.sh prints the port for https://localhost: HTTPS_PORT, as the environment or .env sets it, or else 443 where it can
# be had, and 7443 where it needs other rights or is taken.
set -euo pipefail

port=${HTTPS_PORT:-}
if [ -z "$port" ] && [ -f .env ]; then
	port=$(sed -n 's/^HTTPS_PORT=["'\'']\{0,1\}\([0-9]\{1,\}\).*/\1/p' .env | tail -n 1)
fi
if [ -z "$port" ]; then
	port=7443
	lowest=$(cat /proc/sys/net/ipv4/ip_unprivileged_port_start 2>/dev/null || echo 1024)
	if { [ "$(id -u)" = 0 ] || [ "$lowest" -le 443 ]; } && ! (exec 3<>/dev/tcp/127.0.0.1/443) 2>/dev/null; then
		port=443
	fi
fi
echo "$port"
