#!/usr/bin/env bash
# need.sh COMMAND... makes sure that the commands exist, and installs the Debian packages of those that do not.
#
# It changes nothing where everything is there, says what it installs, and where it cannot install (no apt-get, neither
# root nor sudo) it says what to type.
set -euo pipefail

# package prints the Debian package that holds a command.
package() {
	case $1 in
	go) echo golang-go ;;
	node) echo nodejs ;;
	curl | git | g++ | gcc | make | npm | openssl | shellcheck | chromium) echo "$1" ;;
	redis-check-rdb) echo redis-tools ;; # the server itself under another name, without a service that starts
	chromedriver) echo chromium-driver ;;
	*) echo "need.sh: no package known for the command $1" >&2 && return 1 ;;
	esac
}

missing=()
for command in "$@"; do
	command -v "$command" >/dev/null || missing+=("$(package "$command")")
done
[ ${#missing[@]} -gt 0 ] || exit 0

if ! command -v apt-get >/dev/null; then
	echo "need.sh: please install these with your system's package manager, then try again: ${missing[*]}" >&2
	exit 1
fi
root=()
if [ "$(id -u)" != 0 ]; then
	if ! command -v sudo >/dev/null; then
		echo "need.sh: please run as root, then try again: apt-get install ${missing[*]}" >&2
		exit 1
	fi
	root=(sudo)
fi

echo "need.sh: installing ${missing[*]} (${root[*]:+${root[*]} }apt-get install)" >&2
apt=("${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -y -o DPkg::Lock::Timeout=300)
for action in update "install --no-install-recommends ca-certificates ${missing[*]}"; do
	# shellcheck disable=SC2086 # the words are arguments
	if ! output=$("${apt[@]}" $action 2>&1); then
		printf '%s\n' "$output" >&2
		echo "need.sh: apt-get $action failed, see above" >&2
		exit 1
	fi
done
