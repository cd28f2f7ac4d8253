# The menu of verbs; `make help` lists them. Continuous integration calls the same (.ci/run).

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-input --constraint constraints.txt
SOURCES := pyproject.toml constraints.txt

# Debian packages that the tests need beyond Python, make and git, as COMMAND:PACKAGE.
SYSTEM_PACKAGES := curl:curl openssl:openssl h2load:nghttp2-client nghttp:nghttp2-client chromium:chromium firefox-esr:firefox-esr \
  testssl:testssl.sh pebble:pebble pebble-challtestsrv:pebble ip:iproute2 unshare:util-linux
NODE_PARTS := tests/conformance sw

.PHONY: help
help: ## list the verbs
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# --- running

.PHONY: run
run: $(VENV)/.installed ## start the demo; with ORIGIN=https://www.example.org the edge in front of that site
	@if [ -n "$(ORIGIN)" ]; then exec $(BIN)/edgeproxy run --origin "$(ORIGIN)"; else exec $(BIN)/edgeproxy demo; fi

# The first interpreter of the list that is new enough and works; PYTHON=... chooses another.
$(VENV)/bin/python:
	@for python in $(PYTHON) python3.11 python3.12 python3.13 python3.14 python3; do \
	  if "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then found="$$python"; break; fi; \
	done; \
	if [ -z "$${found:-}" ]; then \
	  echo "edgeproxy needs Python 3.11 or newer; found: $$(python3 --version 2>&1 || true). Install it, or name one: make PYTHON=/path/to/python3.11 run" >&2; exit 1; \
	fi; \
	if ! "$$found" -c 'import venv, ensurepip' 2>/dev/null; then \
	  echo "$$found cannot make virtual environments; on Debian and Ubuntu install the package python3-venv" >&2; exit 1; \
	fi; \
	echo "making $(VENV) with $$("$$found" --version)"; \
	"$$found" -m venv --clear $(VENV)

$(VENV)/.installed: $(VENV)/bin/python $(SOURCES)
	@echo "installing edgeproxy"
	@$(INSTALL) --editable .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	@echo "installing what the tests need"
	@$(INSTALL) --editable '.[dev]'
	@touch $@

$(VENV)/.installed-bench: $(VENV)/.installed-dev
	@$(INSTALL) --editable '.[dev,bench]'
	@touch $@

# sslyze needs another cryptography than the edge does.
.venv-sslyze/.installed: $(VENV)/bin/python
	@echo "installing sslyze"
	@$(BIN)/python -m venv --clear .venv-sslyze
	@.venv-sslyze/bin/python -m pip install --quiet --disable-pip-version-check --no-input 'sslyze==6.3.1'
	@touch $@

# A verifier and a witness that are not ours. They declare a newer Python than they need.
.venv-tlog/.installed: $(VENV)/bin/python
	@echo "installing aics-tlog and aics-witness"
	@$(BIN)/python -m venv --clear .venv-tlog
	@.venv-tlog/bin/python -m pip install --quiet --disable-pip-version-check --no-input 'cryptography==50.0.2'
	@.venv-tlog/bin/python -m pip install --quiet --disable-pip-version-check --no-input --no-deps --ignore-requires-python \
	  'aics-tlog==0.2.1' 'aics-witness==0.1.0'
	@touch $@

# An archive player that others wrote, with dependencies that the edge should not have.
.venv-pywb/.installed: $(VENV)/bin/python
	@echo "installing pywb"
	@$(BIN)/python -m venv --clear .venv-pywb
	@.venv-pywb/bin/python -m pip install --quiet --disable-pip-version-check --no-input 'pywb==2.10.0'
	@touch $@

# Its output is in the repository: a machine without Node runs the edge all the same.
.PHONY: sw
sw: node-parts ## build the service worker into the package
	@cd sw && node build.mjs

# --- checking

.PHONY: test
test: $(VENV)/.installed-dev system-parts node-parts .venv-sslyze/.installed .venv-tlog/.installed .venv-pywb/.installed check unit ## install what the tests need, then run them all

.PHONY: check
check: lint types layers ## lint, types and layers

.PHONY: lint
lint: $(VENV)/.installed-dev ## style
	@$(BIN)/ruff check .

.PHONY: types
types: $(VENV)/.installed-dev
	@$(BIN)/mypy

.PHONY: layers
layers: $(VENV)/.installed-dev
	@$(BIN)/lint-imports

# On all processors: first the pure core, test by test; then file by file what starts processes and servers.
.PHONY: unit
unit: $(VENV)/.installed-dev
	@$(BIN)/pytest --numprocesses auto --dist worksteal tests/unit tests/fuzz
	@$(BIN)/pytest --numprocesses auto --dist loadfile -m "not crash and not conformance and not scanner" --ignore tests/unit --ignore tests/fuzz
	@if [ -d tests/conformance/node_modules ]; then $(MAKE) --no-print-directory conformance; fi
	@if [ -d sw/node_modules ]; then $(MAKE) --no-print-directory worker; fi

.PHONY: scanners
scanners: $(VENV)/.installed-dev .venv-sslyze/.installed ## sslyze and testssl against the TLS front door
	@$(BIN)/pytest -m "scanner or not scanner" tests/conformance/test_tls_scanners.py

.PHONY: conformance
conformance: $(VENV)/.installed-dev node-parts ## the suite http-cache-tests against the real edge
	@$(BIN)/pytest -m conformance tests/conformance

.PHONY: worker
worker: node-parts ## types and units of the service worker, then the worker in Chromium
	@cd sw && npm run --silent types && node --test test/unit/*.test.mjs && node --test test/e2e/*.test.mjs

.PHONY: crash
crash: $(VENV)/.installed-dev ## kill the edge with SIGKILL at least 100 times under write load
	@$(BIN)/pytest -m crash tests/faults

.PHONY: bench
bench: $(VENV)/.installed-bench ## benchmarks of the core, then side by side with other proxies
	@$(BIN)/pytest --benchmark-only -p no:cacheprovider benchmarks/micro
	@$(BIN)/python -m benchmarks.load
	@$(BIN)/python -m benchmarks.handshake
	@$(BIN)/python -m benchmarks.validators
	@$(BIN)/python -m benchmarks.navigation
	@$(BIN)/python -m benchmarks.ledger

# --- parts that are not Python: named and left out where they cannot be had, a failure with CI=true

.PHONY: system-parts
system-parts:
	@missing=(); \
	for part in $(SYSTEM_PACKAGES); do command -v "$${part%%:*}" >/dev/null || missing+=("$${part##*:}"); done; \
	if [ "$${#missing[@]}" -gt 0 ] && [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$${missing[@]}" && missing=(); \
	fi; \
	if [ "$${#missing[@]}" -gt 0 ]; then \
	  echo "missing, its tests are skipped: $${missing[*]}" >&2; \
	  if [ "$${CI:-}" = true ]; then exit 1; fi; \
	fi

.PHONY: node-parts
node-parts:
	@if ! command -v node >/dev/null || ! command -v npm >/dev/null; then \
	  echo "missing, its tests are skipped: Node.js with npm (make conformance, make worker)" >&2; \
	  if [ "$${CI:-}" = true ]; then exit 1; fi; \
	else \
	  for part in $(NODE_PARTS); do \
	    if [ ! $$part/node_modules/.package-lock.json -nt $$part/package.json ]; then \
	      echo "installing the Node parts of $$part"; \
	      (cd $$part && npm install --ignore-scripts --no-package-lock --no-audit --no-fund --silent); \
	    fi; \
	  done; \
	fi

.PHONY: clean
clean: ## remove what the verbs made, except the data of an edge
	rm -rf $(VENV) .venv-sslyze .venv-tlog .venv-pywb $(addsuffix /node_modules,$(NODE_PARTS)) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .benchmarks dist
	find edgeproxy tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
