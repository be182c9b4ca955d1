#!/usr/bin/env bash
# setup.sh writes .env: what is in .env.example, with passwords and keys made for it. Run again it fills in what is missing,
# and changes nothing that is there.
#
# It prints the password of Bytebot's page once, and keeps only its hash. BYTEBOT_PASSWORD=... ./setup.sh takes yours instead.
# Hashing takes bin/caddy (make build), a caddy on PATH, or the image that podman or docker builds here, in this order.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

say() { printf 'setup.sh: %s\n' "$*" >&2; }
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
[ $# = 0 ] || die "it takes no arguments"

image=localhost/llmgateway:latest

# current prints a variable's value in the new file, the last one as Caddy does, without quotes and comment.
current() {
	sed -nE "s/^[[:space:]]*(export )?$1=(.*)\$/\\2/p" "$new" | tail -n 1 |
		sed -E "s/\r\$//; s/^([^\"'].*|\"[^\"]*\"|'[^']*')?[[:space:]]+#.*\$/\\1/; s/[[:space:]]+\$//; s/^\"(.*)\"\$/\\1/; s/^'(.*)'\$/\\1/"
}

# fill sets a variable that is empty or missing in the new file; the value arrives in an environment variable of awk's, since
# arguments of commands are for everybody to see.
fill() {
	NAME=$1 VALUE=$2 awk '
		{
			line = $0
			ending = sub(/\r$/, "", line) ? "\r" : ""
			if (!found && line == ENVIRON["NAME"] "=") {
				line = line ENVIRON["VALUE"]
				found = 1
			}
			print line ending
		}
		END { if (!found) print ENVIRON["NAME"] "=" ENVIRON["VALUE"] ending }
	' "$new" >"$new.next"
	cat "$new.next" >"$new"
	rm "$new.next"
	filled+=("$1")
}

# random prints 48 hexadecimal digits, which mean nothing special in a URL, a shell or a Caddyfile.
random() { head -c 24 /dev/urandom | od -An -v -tx1 | tr -d ' \n'; }

# hash prints the bcrypt hash of a password.
hash() {
	local caddy engine found=
	for caddy in bin/caddy caddy; do
		if [ -z "$found" ] && command -v "$caddy" >/dev/null; then
			found=$caddy
		fi
	done
	if [ -n "$found" ]; then
		printf '%s\n' "$1" | "$found" hash-password
		return
	fi
	for engine in podman docker; do
		command -v "$engine" >/dev/null || continue
		if ! "$engine" image inspect "$image" >/dev/null 2>&1; then
			say "building $image, once; this takes some minutes"
			"$engine" build -t "$image" . >&2 || return
		fi
		printf '%s\n' "$1" | "$engine" run --rm --interactive --network none --entrypoint caddy "$image" hash-password
		return
	done
	say "please run make build first, or install podman"
	return 1
}

umask 077
env_file=.env
[ ! -L .env ] || env_file=$(readlink -f .env)
new=$(mktemp "$env_file.XXXXXX")
trap 'rm -f "$new" "$new.next" "$new.old"' EXIT
filled=()
if [ -e "$env_file" ]; then
	cat "$env_file" >"$new.old"
	cat "$new.old" >"$new"
	[ -z "$(tail -c 1 "$new")" ] || echo >>"$new"
else
	cat .env.example >"$new"
fi

if [ -z "$(current POSTGRES_PASSWORD)" ]; then
	[ -z "$(current DATABASE_URL)" ] ||
		die "DATABASE_URL is set in $env_file and POSTGRES_PASSWORD is not; write the password that is in the one into the other"
	fill POSTGRES_PASSWORD "$(random)"
fi
if [ -z "$(current DATABASE_URL)" ]; then
	postgres_password=$(current POSTGRES_PASSWORD)
	[[ $postgres_password =~ ^[A-Za-z0-9._~-]+$ ]] ||
		die "please set DATABASE_URL: POSTGRES_PASSWORD has characters that must be written as %XX there"
	fill DATABASE_URL "postgresql://postgres:$postgres_password@postgres:5432/bytebotdb"
fi
for key in LLM_KEY LLM_AGENT_KEY; do
	[ -n "$(current "$key")" ] || fill "$key" "sk-$(random)"
done
[[ $(current LLM_AGENT_KEY) =~ ^[A-Za-z0-9._~-]+$ ]] ||
	die "please take another LLM_AGENT_KEY: it becomes part of an address, so it must be one key, of letters and digits"
[[ ! $(current LLM_KEY) =~ [[:space:]] ]] || say "LLM_KEY has white space in it, so each of its words is a key"
keys_folder=$(current LLM_KEYS_DIR)
[[ ${keys_folder:=./keys} =~ ^\.{0,2}/ ]] || die "LLM_KEYS_DIR must begin with / or ./; compose takes what does not for a volume's name"
# compose.yml mounts it, and not every engine makes a folder that is missing. The container's user must be able to read it.
[ -d "$keys_folder" ] || install -d -m 755 "$keys_folder"
password=
if [ -z "$(current BYTEBOT_PASSWORD_HASH)" ]; then
	password=${BYTEBOT_PASSWORD:-$(random | head -c 24)}
	hash=$(hash "$password") || die "the password could not be hashed, see above"
	[[ $hash =~ ^\$2[aby]\$[0-9]{2}\$[./A-Za-z0-9]{53}$ ]] || die "this is no bcrypt hash: $hash"
	# In single quotes a $ is a $ to compose and to Caddy.
	fill BYTEBOT_PASSWORD_HASH "'$hash'"
fi

if [ ${#filled[@]} = 0 ]; then
	chmod go= "$env_file"
	say "$env_file has everything; it is as it was"
	exit
fi
chmod 600 "$new"
# Hashing takes a second, in which somebody else may have written it: what would then be printed here is in no file.
if [ -e "$new.old" ]; then
	cmp -s "$new.old" "$env_file" || die "$env_file was changed meanwhile; it is as it was then, please run this again"
	mv -f "$new" "$env_file"
elif ! ln "$new" "$env_file" 2>/dev/null; then
	[ ! -e "$env_file" ] || die "$env_file was written meanwhile, by another setup.sh perhaps; it is as it was then"
	mv -f "$new" "$env_file" # where files have one name only
fi
say "$env_file is written: ${filled[*]}"
if [ -n "$password" ]; then
	user=$(new=$env_file current BYTEBOT_USER)
	if [ -n "${BYTEBOT_PASSWORD:-}" ]; then
		say "log in to Bytebot as ${user:-admin} with your password"
	else
		say "log in to Bytebot as ${user:-admin} with this password, which is written nowhere else:"
		printf '%s\n' "$password"
	fi
fi
