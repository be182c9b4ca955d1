# Everything a checkout can do. Each target first makes what it needs and is missing: a Go toolchain, llama-server and Debian
# packages are fetched once, kept outside the repository, and said aloud.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

GO := scripts/go.sh
# A llama-server for the commands that follow in the same recipe line.
WITH_LLAMA_SERVER := LLAMA_SERVER="$$(scripts/llama-server.sh)" && export LLAMA_SERVER &&

CADDYFILE ?= Caddyfile
FUZZTIME ?= 30s
# What the own build of llama-server can use besides the CPU: cuda or vulkan.
export LLAMA_BACKEND ?=
# Passed on by run, test and bench, as in: make test ARGS='-run Splice ./llmgateway/openai'
ARGS ?=

SOURCES := $(shell find llmgateway caddymodule -type f ! -name '*_test.go' ! -path '*/testdata/*')

##@ Use

.PHONY: run
run: bin/caddy ## build what is missing, then run Caddy with the Caddyfile, and with .env if there is one
	@$(WITH_LLAMA_SERVER) HTTPS_PORT="$$(scripts/https-port.sh)" exec bin/caddy run --config $(CADDYFILE) $(if $(wildcard .env),--envfile .env) $(ARGS)

.PHONY: setup
setup: bin/caddy ## write .env with new passwords and keys, or fill in what it lacks
	@./setup.sh

.PHONY: build
build: bin/caddy ## build bin/caddy through xcaddy, as xcaddy.json says

bin/caddy: xcaddy.json go.mod go.sum plugin.go $(SOURCES)
	$(GO) run ./caddymodule/cmd/build -o $@

.PHONY: llama-server
llama-server: ## find or build llama-server and print its path; LLAMA_BACKEND=cuda or vulkan builds it for that
	@scripts/llama-server.sh

##@ Develop

.PHONY: test
test: check $(if $(wildcard test/node/package.json),test/node/node_modules) ## run every check and every test
	scripts/need.sh chromium curl openssl redis-check-rdb
	$(WITH_LLAMA_SERVER) $(GO) test -race -vet=off -timeout 30m $(or $(ARGS),./...)

.PHONY: check
check: bin/caddy ## run what is quick: formats, go.mod, go vet, the Caddyfile
	scripts/need.sh g++
	@files="$$("$$($(GO) env GOROOT)/bin/gofmt" -l .)"; [ -z "$$files" ] || { echo "please run make format:" $$files >&2; exit 1; }
	$(GO) mod tidy -diff
	$(GO) vet -race ./...
	@for file in Caddyfile deploy/caddy/*.caddy; do \
		diff="$$(bin/caddy fmt --diff $$file)" || { echo "$$file:"; grep '^[-+]' <<<"$$diff"; exit 1; }; \
	done
	bin/caddy validate --config Caddyfile

.PHONY: lint
lint: bin/golangci-lint tools/node_modules ## run golangci-lint, shellcheck, and a linter for the Dockerfile
	bin/golangci-lint run --allow-parallel-runners
	scripts/need.sh shellcheck
	shellcheck *.sh scripts/*.sh deploy/container/llmgateway-* .ci/run
	tools/node_modules/.bin/dockerfile-utils lint Dockerfile

.PHONY: format
format: bin/golangci-lint bin/caddy ## format the Go sources and the Caddyfile
	bin/golangci-lint fmt
	for file in Caddyfile deploy/caddy/*.caddy; do bin/caddy fmt --overwrite $$file; done

# A module of its own, so that the linter's requirements are none of the product's.
bin/golangci-lint: tools/go.mod tools/go.sum
	cd tools && ../$(GO) build -trimpath -ldflags '-s -w' -o ../$@ github.com/golangci/golangci-lint/v2/cmd/golangci-lint

%/node_modules: %/package-lock.json
	scripts/need.sh node npm
	npm ci --prefix $* --no-audit --no-fund
	@touch $@

.PHONY: bench
bench: bin/caddy ## measure; ARGS go to the benchmark
	$(WITH_LLAMA_SERVER) $(GO) run ./bench $(ARGS)

.PHONY: bench-local
bench-local: ## measure a local model's speed through the gateway; ARGS go to the benchmark
	$(WITH_LLAMA_SERVER) $(GO) run ./bench/local $(ARGS)

.PHONY: fuzz
fuzz: ## run every fuzz test for FUZZTIME (30s)
	scripts/fuzz.sh $(FUZZTIME)

SOAKING = $(addprefix ./,$(sort $(dir $(shell grep -rl --include='*_test.go' LLMGATEWAY_SOAK llmgateway caddymodule))))

.PHONY: soak
soak: ## run the long form of the tests that have one
	scripts/need.sh g++
	$(WITH_LLAMA_SERVER) LLMGATEWAY_SOAK=1 $(GO) test -race -count=1 -timeout 2h -v $(or $(ARGS),$(SOAKING))

.PHONY: generate
generate: ## write generated files again
	$(GO) generate ./...

.PHONY: clean
clean: ## remove what was built in the checkout
	rm -rf bin test/node/node_modules tools/node_modules

.PHONY: help
help: ## print this
	@awk -F ':.*## ' '/^##@/ {print "\n" substr($$0, 5)} /^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' Makefile
