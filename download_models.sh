#!/usr/bin/env bash
# download_models.sh [REPOSITORY:QUANTIZATION[+mmproj]...] downloads models from Hugging Face into models/.
#
# Without arguments it downloads the list below. +mmproj means the vision projector, too: with it a model sees images, which
# Bytebot's agent needs. What is there already is not downloaded again, and a download that was cut goes on.
#
# HF_TOKEN or HF_API_KEY opens models that are not for everybody; HF_ENDPOINT names another hub. It uses
# `bin/caddy llm pull` where that was built (make build), and curl otherwise.
set -euo pipefail

models=(
	Qwen/Qwen2.5-0.5B-Instruct-GGUF:q4_k_m           # 0.5 GB, for a first try and small machines
	Qwen/Qwen2.5-3B-Instruct-GGUF:q4_k_m             # 2.1 GB, calls tools
	ggml-org/Qwen2.5-VL-3B-Instruct-GGUF:Q4_K_M+mmproj # 3.3 GB, calls tools and sees images
)

cd "$(dirname "${BASH_SOURCE[0]}")"
endpoint=${HF_ENDPOINT:-https://huggingface.co}
endpoint=${endpoint%/}
token=${HF_TOKEN:-${HF_API_KEY:-}}

say() { printf 'download_models.sh: %s\n' "$*" >&2; }
fail() {
	say "$@"
	return 1
}

# ask runs curl with what all requests have. The token is in a file of its own, where other users do not see it; curl keeps
# the header from servers that it is redirected to.
ask() {
	local protocols="=https"
	[[ $endpoint != http://* ]] || protocols="=http,https"
	curl --silent --show-error --fail --proto "$protocols" --proto-redir "$protocols" --connect-timeout 15 \
		--config <([ -z "$token" ] || printf 'header = "Authorization: Bearer %s"\n' "$token") "$@"
}

# list prints the GGUF files of a repository.
list() {
	ask --location --retry 3 "$endpoint/api/models/$1/tree/main?recursive=true" | tr '{},' '\n' |
		sed -n 's/^[[:space:]]*"path":[[:space:]]*"\([^"\\]*\.gguf\)".*/\1/p' | sort -u
}

# choose prints which of the files on standard input are wanted: one by name, or all parts of the one in a quantization.
choose() {
	local want=$1 files found
	files=$(cat)
	if grep -qxF -- "$want" <<<"$files"; then
		echo "$want"
		return
	fi
	[[ $want =~ ^[A-Za-z0-9_-]+$ ]] || fail "there is no file $want; there are:" $'\n'"$files" || return
	found=$(grep -vi mmproj <<<"$files" | grep -iE "(^|[-._/])$want([-./]|\$)" || true)
	case $(sed -E 's/-[0-9]{5}-of-[0-9]{5}\.gguf$//' <<<"$found" | sort -u | grep -c .) in
	1) echo "$found" ;;
	*) fail "not one model is in $want; name a file behind the colon:" $'\n'"$files" ;;
	esac
}

# projector prints the vision projector among the files on standard input, the one in F16 if there are several.
projector() {
	local found
	found=$(grep -i mmproj) || fail "there is no vision projector" || return
	grep -iE '[-._]f16\.gguf$' <<<"$found" || head -n 1 <<<"$found"
}

# fetch downloads a file of a repository.
fetch() {
	local repo=$1 file=$2 name dest part headers size sum have try progress=()
	[ ! -t 2 ] || progress=(--no-silent)
	name=${file##*/}
	[[ $name =~ ^[A-Za-z0-9_][A-Za-z0-9._+-]*\.gguf$ && $file != *..* ]] || fail "the file name $file is refused" || return
	dest=models/$name
	part=$dest.curl
	headers=$(ask --head "$endpoint/$repo/resolve/main/$file" | tr -d '\r') ||
		fail "$repo is not there, or not for everybody: accept its licence at $endpoint/$repo and set HF_TOKEN" || return
	header() { sed -n "s/^$1: *\"\{0,1\}\([^\"]*\)\"\{0,1\}\$/\1/Ip" <<<"$headers" | head -n 1; }
	size=$(header x-linked-size)
	sum=$(header x-linked-etag)
	[[ $size =~ ^[0-9]+$ && $sum =~ ^[0-9a-f]{64}$ ]] || fail "the hub tells no checksum of $file" || return

	if [ -e "$dest" ]; then
		if [ "$(checksum "$dest")" = "$sum" ]; then
			say "$dest is there already"
			return
		fi
		fail "$dest is there and is not the hub's file; remove it to have that one" || return
	fi
	# What is there of another version, or too much, is of no use.
	if [ "$(cat "$part.sum" 2>/dev/null || true)" != "$sum" ] || [ "$(length "$part")" -gt "$size" ]; then
		rm -f "$part"
	fi
	echo "$sum" >"$part.sum"
	if [ "$(df -Pk models | awk 'NR == 2 {print $4}')" -lt $(((size - $(length "$part")) / 1024)) ]; then
		fail "there is no room for $((size >> 20)) MiB" || return
	fi
	say "downloading $name, $((size >> 20)) MiB"
	for try in 1 2 3 4 5 6 7 8; do
		have=$(length "$part")
		[ "$have" -lt "$size" ] || break
		ask "${progress[@]}" --location --continue-at - --speed-limit 1 --speed-time 30 --output "$part" \
			"$endpoint/$repo/resolve/main/$file" && break
		# Servers that do not send parts answer with everything, and curl gives up.
		[ "$(length "$part")" -gt "$have" ] || rm -f "$part"
		sleep "${DOWNLOAD_PAUSE:-$((try * 2))}"
	done
	[ "$(length "$part")" = "$size" ] || fail "$name did not come whole; run it again" || return
	if [ "$(checksum "$part")" != "$sum" ]; then
		rm -f "$part" "$part.sum"
		fail "what arrived of $name does not have the hub's checksum; it was deleted, run it again" || return
	fi
	mv "$part" "$dest"
	rm -f "$part.sum"
	say "$dest is there"
}

length() { if [ -e "$1" ]; then wc -c <"$1" | tr -d ' '; else echo 0; fi; }

checksum() {
	if command -v sha256sum >/dev/null; then sha256sum "$1"; else shasum -a 256 "$1"; fi | cut -d ' ' -f 1
}

# get downloads a model of the list.
get() {
	local repo=${1%%:*} want=${1#*:} files chosen file with=()
	if [[ $want == *+mmproj ]]; then
		want=${want%+mmproj}
		with=(--mmproj)
	fi
	[[ $repo =~ ^[A-Za-z0-9_][A-Za-z0-9._-]*/[A-Za-z0-9_][A-Za-z0-9._-]*$ && $1 == *:?* ]] ||
		fail "write $1 as owner/repository:quantization" || return
	if [ -x bin/caddy ] && bin/caddy llm pull --help >/dev/null 2>&1; then
		bin/caddy llm pull "$repo:$want" --to models "${with[@]}"
		return
	fi
	files=$(list "$repo") && [ -n "$files" ] ||
		fail "$repo has no GGUF files, is not there, or is not for everybody: see $endpoint/$repo, and set HF_TOKEN" || return
	chosen=$(choose "$want" <<<"$files") || return
	if [ ${#with[@]} -gt 0 ]; then
		chosen+=$'\n'$(projector <<<"$files") || return
	fi
	while read -r file; do
		fetch "$repo" "$file" </dev/null || return
	done <<<"$chosen"
}

case ${1:-} in
-h | --help)
	sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//p;}' "${BASH_SOURCE[0]##*/}"
	exit
	;;
esac
[ $# -eq 0 ] || models=("$@")
mkdir -p models
missing=0
for model in "${models[@]}"; do
	say "$model"
	get "$model" || missing=$((missing + 1))
done
[ "$missing" = 0 ] || { say "$missing of ${#models[@]} could not be downloaded" && exit 1; }
