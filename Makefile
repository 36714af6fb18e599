# The verbs. Each works on a fresh Debian, Raspberry Pi OS or Ubuntu: it makes
# its own environment in .venv first, which costs nothing the second time.
#
#   make run    ARGS="--seconds 20"        the demonstration
#   make test   ARGS="-k mailbox"          everything that can be proven here
#   make check                             ruff, mypy, layers, documentation
#   make bench  ARGS="--json"              ratios against baselines of the same run
#
# PYTHON=/path/to/python3.12 chooses the interpreter, VENV=folder the place.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.NOTPARALLEL:
.DEFAULT_GOAL := help
.PHONY: help run test check bench clean

VENV ?= .venv
PYTHON ?=
ARGS ?=
BIN := $(VENV)/bin
# Two for each core, since a test of ours mostly waits; 8 at the most, and each has 0.4 GB.
WORKERS ?= $(shell awk -v cores=$$(nproc) '/^MemAvailable/ { fit = int($$2 / 400000); \
    most = cores < 4 ? 2 * cores : 8; print fit < 1 ? 1 : fit < most ? fit : most }' /proc/meminfo)
# Programs that tests start by the hundred would all be compiled anew.
unexport PYTHONDONTWRITEBYTECODE

help:
	@sed -n 's/^#   //p' Makefile

run: $(VENV)/.ready-demo
	@$(BIN)/gateway demo $(ARGS)

# Tests that watch the clock run first: what counts milliseconds with nothing beside it, what
# has seconds once on each core. Then the rest, spread over the workers (WORKERS=1 has them one
# by one). pytest's 5 means that none of a kind was chosen.
test: $(VENV)/.ready-dev
	@$(BIN)/python deploy/test_packages.py
	@status=0; \
	run() { $(BIN)/python -m pytest "$$@" || { code=$$?; [ $$code -eq 5 ] || status=$$code; }; }; \
	spread="--dist loadfile --no-loadscope-reorder"; \
	run -m alone $(ARGS); \
	run -m paced -n $$(nproc) $$spread $(ARGS); \
	run -m "not alone and not paced" -n $(WORKERS) $$spread $(ARGS); \
	exit $$status

# All four speak, also when the first has found something.
check: $(VENV)/.ready-dev
	@status=0; \
	$(BIN)/ruff check . || status=1; \
	$(BIN)/ruff format --check . || status=1; \
	$(BIN)/mypy || status=1; \
	$(BIN)/python -m pytest -q tests/test_layers.py tests/test_documentation.py || status=1; \
	exit $$status

bench: $(VENV)/.ready-dev
	@$(BIN)/python -m benchmarks.bus $(ARGS)
	@$(BIN)/python -m benchmarks.serial $(ARGS)

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist

# What make check needs contains what make run needs.
$(VENV)/.ready-demo: pyproject.toml deploy/environment
	@PYTHON="$(PYTHON)" deploy/environment "$(VENV)" demo
	@touch $@

$(VENV)/.ready-dev: pyproject.toml deploy/environment
	@PYTHON="$(PYTHON)" deploy/environment "$(VENV)" demo,dev
	@touch $@ $(VENV)/.ready-demo
