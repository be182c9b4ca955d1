#!/usr/bin/env bash
# select_model.sh [NUMBER or NAME] makes a model in models/ the local model: it sets LOCAL_MODEL_PATH in .env, and gives
# a gateway that runs on this machine its new configuration. Without an argument it shows the models and asks.
#
# Nothing else in .env changes. Where LOCAL_MODEL_PATH began with /models/, as in a container, it does so afterwards.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

say() { printf 'select_model.sh: %s\n' "$*" >&2; }
die() {
	say "$@"
	exit 1
}

case ${1:-} in
-h | --help)
	sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//p;}' "${BASH_SOURCE[0]##*/}"
	exit
	;;
esac
[ $# -le 1 ] || die "name one model"

# current prints the value in .env, the last one as Caddy does.
current() {
	[ ! -f .env ] || sed -nE 's/^[[:space:]]*(export )?LOCAL_MODEL_PATH=(.*)$/\2/p' .env | tail -n 1 |
		sed -E 's/[[:space:]]+#.*$//; s/[[:space:]]+$//; s/^"(.*)"$/\1/; s/^'\''(.*)'\''$/\1/'
}

# A model in several files is named by its first; projectors are no models.
models=()
for file in models/*.gguf models/*/*.gguf; do
	name=${file#models/}
	[[ ! -f $file || ${name##*/} == *[mM][mM][pP][rR][oO][jJ]* ]] && continue
	[[ $name =~ -[0-9]{5}-of-[0-9]{5}\.gguf$ && $name != *-00001-of-* ]] && continue
	models+=("$name")
done
[ ${#models[@]} -gt 0 ] || die "there is no model in models/; ./download_models.sh gets some"

old=$(current)
choice=${1:-}
if [ $# = 0 ]; then
	for i in "${!models[@]}"; do
		mark=" "
		[ "${old##*models/}" != "${models[i]}" ] || mark="*"
		printf '%s %2d) %s  (%s)\n' "$mark" $((i + 1)) "$(tr -d '[:cntrl:]' <<<"${models[i]}")" "$(du -hL "models/${models[i]}" | cut -f 1)" >&2
	done
	read -r -p "Number of the model: " choice || die "nothing was chosen; .env is as it was"
fi
choice=${choice#./}
choice=${choice#models/}
model=
if [[ $choice =~ ^[0-9]{1,4}$ ]]; then
	choice=$((10#$choice))
	((choice >= 1 && choice <= ${#models[@]})) || die "there is no model $choice; there are 1 to ${#models[@]}"
	model=${models[choice - 1]}
else
	for name in "${models[@]}"; do
		[[ $name != "$choice" && $name != "$choice.gguf" ]] || model=$name
	done
	[ -n "$model" ] || die "there is no model $choice in models/; there are: ${models[*]}"
fi
case $model in
*[[:space:][:cntrl:]\"\'\`\$\\#\{\}]*) die "please rename models/$model: in .env and the Caddyfile such a name would mean something else" ;;
esac
# A download that failed may have left a web page under the model's name.
[ "$(head -c 4 "models/$model" | tr -d '\0')" = GGUF ] || die "models/$model is no GGUF file; please get it again: ./download_models.sh"
value=models/$model
[[ $old != /models/* ]] || value=/models/$model

# The new file replaces the old one in one step. A link stays one, and a new file is for its owner, since keys go there.
env_file=.env
[ ! -L .env ] || env_file=$(readlink -f .env)
umask 077
new=$(mktemp "$env_file.XXXXXX")
trap 'rm -f "$new"' EXIT
if [ -e "$env_file" ]; then
	cp -p "$env_file" "$new" # for its mode and owner
	VALUE=$value LC_ALL=C awk '
		{
			line = $0
			cr = sub(/\r$/, "", line) ? "\r" : ""
			if (NR == 1) ending = cr
			if (open != "") { # within a value of several lines
				if (index(line, open)) open = ""
			} else if (match(line, /^[ \t]*(export )?LOCAL_MODEL_PATH=/)) {
				name = substr(line, 1, RLENGTH)
				value = substr(line, RLENGTH + 1)
				quote = value ~ /^["\047]/ ? substr(value, 1, 1) : ""
				comment = match(value, /[ \t]+#.*$/) ? substr(value, RSTART) : ""
				line = name quote ENVIRON["VALUE"] quote comment
				found = 1
			} else if (line !~ /^[ \t]*#/ && match(line, /=["\047]/)) {
				quote = substr(line, RSTART + 1, 1)
				if (!index(substr(line, RSTART + 2), quote)) open = quote
			}
			print line cr
		}
		END { if (!found) print "LOCAL_MODEL_PATH=" ENVIRON["VALUE"] ending }
	' "$env_file" >"$new"
else
	printf 'LOCAL_MODEL_PATH=%s\n' "$value" >"$new"
fi
mv -f "$new" "$env_file"
trap - EXIT
say "LOCAL_MODEL_PATH=$value"
if [ -n "${LOCAL_MODEL_PATH:-}" ] && [ "$LOCAL_MODEL_PATH" != "$value" ]; then
	say "your shell sets LOCAL_MODEL_PATH to something else, which wins over .env: unset LOCAL_MODEL_PATH"
fi

if [ ! -x bin/caddy ] || [ ! -e "$value" ]; then
	say "it takes effect when the gateway starts (make run); containers are started again with: podman compose up -d"
	exit
fi
# The Caddyfile is read here and not by the running gateway, so it is here that .env must be known.
messages=$(mktemp)
trap 'rm -f "$messages"' EXIT
config=$(LOCAL_MODEL_PATH=$value bin/caddy adapt --config "${CADDYFILE:-Caddyfile}" --envfile .env 2>"$messages") || {
	cat "$messages" >&2
	die "the configuration has a mistake, see above; a running gateway keeps what it has"
}
if bin/caddy reload --config - <<<"$config" >"$messages" 2>&1; then
	say "the running gateway uses it now"
elif grep -qE 'connection refused|no such file or directory' "$messages"; then
	say "no gateway is running here; start it with: make run"
else
	cat "$messages" >&2
	die "the running gateway refuses the configuration, see above; it keeps what it has"
fi
