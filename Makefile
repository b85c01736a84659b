# `make help` lists the targets: those with a text after two hashes.
.DEFAULT_GOAL := help
.PHONY: help deps build debug test torture fuzz golden demo bench lint format clean

PACKAGES := libpq-dev libpg-query-dev libyaml-dev pkg-config postgresql postgresql-contrib
SOURCES  := Package.swift Sources Tests $(wildcard sql)
SUDO     := $(if $(filter 0,$(shell id -u)),,sudo)

# One test puts a pooler in between; a target's own variable holds for what it depends on, too.
test torture: PACKAGES += pgbouncer

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

deps: ## install the Debian packages that are missing
	@command -v swift >/dev/null || { \
	  echo "swift is not on the PATH: install it (https://www.swift.org/install/linux/) or put its bin folder there" >&2; \
	  exit 1; }
	@missing=$$(for package in $(PACKAGES); do \
	  dpkg-query -W -f '$${Status}' $$package 2>/dev/null | grep -q ' installed$$' || printf '%s ' $$package; done); \
	if [ -n "$$missing" ]; then \
	  echo "installing $$missing"; \
	  if [ -n "$(SUDO)" ] && ! command -v sudo >/dev/null; then \
	    echo "there is no sudo here; as root: apt-get install -y $$missing" >&2; exit 1; \
	  fi; \
	  $(SUDO) apt-get update -qq && \
	  $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $$missing; \
	fi

build: deps ## the release build: .build/release/migrate
	swift build -c release

debug: deps ## the debug build
	swift build

test: deps ## build and run all tests; they start a PostgreSQL cluster of their own
	swift test

golden: deps ## record the catalogs again and rewrite what is expected of the compiler; the diff is what one reviews
	UPDATE_GOLDEN=1 swift test --filter 'The file of a project' && UPDATE_GOLDEN=1 swift test --filter CompilerTests

demo: ## a million rows changed, interrupted, taken up again and taken back; SIZE=small|usual|full
	@SIZE=$(SIZE) migrations/demo/run

bench: build ## measure against the raw statement: writes bench/results.md; ROUNDS=9 ROWS=1000000
	bench/run

torture: deps ## the faults in full: 200 kills, 200 terminations, 20 crashes, a cut at every message; SEED=… repeats one
	MIGRATE_TORTURE=1 swift test --filter 'FaultTests|among|BatchSizes|JoinTests|QuarantineTests|StepTests|MovedFamilyTests|OracleTests|DemoKillTests'

fuzz: deps ## random files, expressions and runs for SECONDS=60 each; SEED=… repeats one
	SEED=$(SEED) MIGRATE_FUZZ=$(or $(SECONDS),60) swift test --filter FuzzTests

lint: ## style, as errors
	swift format lint --strict --recursive $(SOURCES)

format: ## rewrite the sources in that style
	swift format format --in-place --recursive $(SOURCES)

clean: ## remove what was built
	swift package clean
