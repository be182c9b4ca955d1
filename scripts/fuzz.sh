#!/usr/bin/env bash
# fuzz.sh [TIME] runs every fuzz test of the module for TIME (30s), one after the other: the go command takes one at once.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

count=0
while IFS=: read -r file test; do
	package=./$(dirname "$file")
	echo "== $package $test" >&2
	scripts/go.sh test -run '^$' -fuzz "^$test\$" -fuzztime "${1:-30s}" "$package"
	count=$((count + 1))
done < <(grep -r --include='*_test.go' -oE '^func Fuzz[A-Za-z0-9_]*' llmgateway caddymodule | sed 's/:func /:/' | sort)

[ "$count" -gt 0 ] || { echo "fuzz.sh: there is no fuzz test" >&2 && exit 1; }
