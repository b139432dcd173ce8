# What people type. Everything is built once, in cargo's plain dev profile, so that the demo and the tests share it.
.DEFAULT_GOAL := help
SHELL := /bin/sh
export PATH := $(CURDIR)/.tools/bin:$(PATH)

CARGO ?= cargo
DEMO_ARGS ?=
keep = $(if $(filter-out 0,$(KEEP)),--keep)

# cargo's own answer, so that CARGO_TARGET_DIR and a config file are obeyed; asked for only where it is needed
target = $(shell $(CARGO) metadata --format-version 1 --no-deps --offline | sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')

.PHONY: help demo build test test-compose test-upgrade reference lint clean tools

help: ## what there is to make
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

demo: build ## the incident-triage demo (KEEP=1 leaves it running; DEMO_ARGS='...' are passed on)
	@$(target)/debug/flotilla demo $(keep) $(DEMO_ARGS)

build: tools ## the flotilla binary
	@$(CARGO) build --workspace --bin flotilla --locked

# tests wait more than they compute
test: export RUST_TEST_THREADS ?= $(shell echo $$((2 * $$(nproc))))
test: ## every test, against real nats-server and redis-server
	@deploy/get-tools --sdk --browser --prometheus
	@$(CARGO) build --workspace --locked
	@$(CARGO) test --workspace --locked
	@deploy/upgrade-test
	@deploy/compose-test

test-compose: ## docker-compose.yml under load and in trouble; a part of test, which skips it where Docker cannot run
	@FLOTILLA_COMPOSE_REQUIRED=1 deploy/compose-test

test-upgrade: ## the fleet of the commit before, upgraded under load; a part of test, which skips it where there is no commit before
	@FLOTILLA_UPGRADE_REQUIRED=1 deploy/upgrade-test

reference: ## writes what is generated of docs/configuration.md and docs/cli.md anew, from the program itself
	@FLOTILLA_REWRITE_DOCS=1 $(CARGO) test --quiet --locked -p flotilla-cli --lib reference

lint: ## formatting and clippy, as strict as CI
	@$(CARGO) fmt --check
	@$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	@$(CARGO) clippy --workspace --test compose --test upgrade --locked -- -D warnings

clean: ## removes what was built, fetched and stored here
	@$(CARGO) clean
	@rm -rf .tools .flotilla

# nats-server and redis-server in .tools/bin
tools:
	@deploy/get-tools
