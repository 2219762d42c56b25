# Every target makes the virtual environment it needs in .venv; a second run finds its stamp and is instant.
# What an installation says goes to stderr, so that stdout holds only what was asked for.

SHELL       := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
MAKEFLAGS   += --no-print-directory --no-builtin-rules
.DEFAULT_GOAL := help

PYTHON ?= python3
ARGS   ?=
LOCKS  := .ci/locks
BIN    := .venv/bin
stamp   = .venv/.$(1)-$(firstword $(shell cat $(LOCKS)/build.txt $(LOCKS)/$(1).txt pyproject.toml | cksum))

.PHONY: help install demo test check bench nightly lock

help: ## say what there is
	@echo 'Lastgood puts a model back to its last good version, and proves it.'
	@echo
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 18
	@echo
	@echo 'Needed: Python 3.11 or newer. Begin with `make demo`; no accounts, no containers.'
	@echo 'Arguments go through ARGS: make demo ARGS="--autoplay --json", make test ARGS="-k quorum".'

install: $(call stamp,dev) ## install everything a developer needs into .venv
	@echo 'Ready. The command is $(BIN)/lastgood.' >&2

demo: $(call stamp,demo) ## the whole story on this machine: a page to watch and two approvals to click
	@$(BIN)/lastgood demo $(ARGS)

test: $(call stamp,test) ## every test, files side by side; one that needs what is absent is skipped and says what
	@$(BIN)/python -m pytest -n auto --maxprocesses=4 --dist loadfile $(ARGS)

check: $(call stamp,dev) ## lint, format, types and who may import whom; all of them, then the sum
	@failed=; \
	for tool in 'ruff check .' 'ruff format --check .' mypy lint-imports; do \
	    echo "── $$tool"; $(BIN)/$$tool || failed="$$failed $${tool%% *}"; \
	done; \
	if [ -n "$$failed" ]; then echo "Not clean:$$failed" >&2; exit 1; fi

bench: $(call stamp,test) ## each figure as a ratio beside its reference in the same run
	@$(BIN)/python bench/run.py $(ARGS)

nightly: $(call stamp,test) ## the long tests and the long bench
	@$(BIN)/python -m pytest -m nightly $(ARGS)
	@$(BIN)/python bench/run.py --long

lock: $(call stamp,dev) ## choose versions anew and write the hashed lock files
	$(COMPILE) $(SYSTEMS) --extra demo --extra test --extra dev --build-deps-for editable -o $(LOCKS)/dev.txt pyproject.toml
	$(COMPILE) -c $(LOCKS)/dev.txt $(SYSTEMS) --extra demo --extra test -o $(LOCKS)/test.txt pyproject.toml
	$(COMPILE) -c $(LOCKS)/dev.txt --extra demo -o $(LOCKS)/demo.txt pyproject.toml
	$(COMPILE) -c $(LOCKS)/dev.txt $(SYSTEMS) -o $(LOCKS)/run.txt pyproject.toml
	$(COMPILE) -c $(LOCKS)/dev.txt --only-build-deps --build-deps-for editable -o $(LOCKS)/build.txt pyproject.toml

# What a site may need beside SQLite; the image has it, the demo does without.
SYSTEMS = --extra aws --extra postgres

# Every file is a part of dev.txt, so one environment can grow from demo to dev without changing a version.
COMPILE = $(BIN)/pip-compile --quiet --upgrade --generate-hashes --strip-extras --allow-unsafe \
          --no-emit-options --no-header --no-annotate

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; this is " + sys.version.split()[0] + ". Name another with PYTHON=...")'
	@echo 'Making .venv' >&2
	@$(PYTHON) -m venv .venv >&2

# A layer brings the layers it holds, so their stamps are set with its own.
holds_demo := demo
holds_test := demo test
holds_dev  := demo test dev

.venv/.%: | .venv/bin/python
	@layer=$(firstword $(subst -, ,$*)) && echo "Installing what $$layer needs" >&2 && \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes \
	    -r $(LOCKS)/build.txt -r $(LOCKS)/$$layer.txt >&2 && \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable . >&2
	@rm -f $(foreach layer,$(holds_$(firstword $(subst -, ,$*))),.venv/.$(layer)-*)
	@touch $(foreach layer,$(holds_$(firstword $(subst -, ,$*))),$(call stamp,$(layer)))
