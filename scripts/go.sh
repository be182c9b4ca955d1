#!/usr/bin/env bash
# go.sh ARGUMENT... runs the go command, in the version that go.mod asks for or a newer one.
#
# Where the Go on PATH is older, or there is none, it fetches a toolchain once with Go's own module client into the user's
# cache folder (any Go can fetch, so Debian's does, installed where there is none). Nothing else on the machine changes.
set -euo pipefail

# The next version: set it, and what `go mod download -json golang.org/toolchain@v0.0.1-goVERSION.linux-ARCH` prints as Sum.
version=1.26.8
sum() {
	case $1 in
	amd64) echo h1:ZOmGe1OnfREDMIdb1Qi4G9JSuDPBLGExZMQ4nis1RXM= ;;
	arm64) echo h1:sYL/O6MqS68ML0kjsQ36WoYIpJqkw60TxizWUYUKQMc= ;;
	esac
}

say() { printf 'go.sh: %s\n' "$*" >&2; }
die() {
	say "$@"
	exit 1
}

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${XDG_CACHE_HOME:-${HOME:?is not set, and neither is XDG_CACHE_HOME}/.cache}/llmgateway/go
dest=$cache/$version

# new_enough tells whether the go on PATH, by itself, is as new as go.mod wants.
new_enough() {
	local have want
	command -v go >/dev/null || return 1
	have=$(cd / && GOTOOLCHAIN=local go env GOVERSION) || return 1
	want=$(awk '$1 == "go" {print $2}' "$here/../go.mod")
	printf '%s\n%s\n' "$want" "${have#go}" | sort -CV
}

fetch() {
	local arch name work answer folder
	case $(uname -s)-$(uname -m) in
	Linux-x86_64) arch=amd64 ;;
	Linux-aarch64) arch=arm64 ;;
	*) die "please install Go $version or newer" ;;
	esac
	name=golang.org/toolchain@v0.0.1-go$version.linux-$arch

	mkdir -p "$cache"
	exec 9>"$cache/lock"
	flock 9
	[ ! -x "$dest/bin/go" ] || return 0

	"$here/need.sh" go
	say "fetching Go $version into $dest; the Go on PATH is $(cd / && GOTOOLCHAIN=local go env GOVERSION)"
	work=$cache/new-$version
	[ ! -e "$work" ] || { chmod -R u+w "$work" && rm -rf "$work"; }
	mkdir "$work"
	answer=$(cd "$work" && GOFLAGS=-modcacherw GO111MODULE=on GOTOOLCHAIN=local GOMODCACHE=$work/mod go mod download -json "$name") ||
		die "the module client could not fetch $name, see above; 'go env GOPROXY' says whom it asked: $answer"
	[[ $answer == *"\"Sum\": \"$(sum "$arch")\""* ]] || die "$name is not the file that was pinned: $answer"
	folder=$work/mod/$name
	# A module holds neither modes nor other modules' go.mod files; Go's own toolchain switch restores both the same way.
	chmod +x "$folder"/bin/* "$folder"/pkg/tool/*/*
	find "$folder" -name _go.mod -execdir mv {} go.mod \;
	"$folder/bin/go" version >/dev/null || die "the fetched $folder/bin/go does not run"
	mv "$folder" "$dest"
	rm -rf "$work"
	say "ready: $dest/bin/go"
	exec 9>&-
}

if ! new_enough; then
	[ -x "$dest/bin/go" ] || fetch
	PATH=$dest/bin:$PATH
	export PATH GOTOOLCHAIN=local
	unset GOROOT
fi
exec go "$@"
