# Every verb is a task here; `make help` lists them. Needs Python 3.11+, pip and make.

PYTHON ?= python3
BIN := .venv/bin
PYTHONS ?= python3.12 python3.13
STAMP := .venv/.installed

export PIP_DISABLE_PIP_VERSION_CHECK = 1

# What is given is read by the shell as a variable, never as a command.
# make book PROFILE=smoke FRESH=1 STORE=dir DEVICE=cuda
BOOK_OPTIONS = $(if $(PROFILE),--profile "$$PROFILE") $(if $(FRESH),--fresh) \
	$(if $(STORE),--store "$$STORE") $(if $(DEVICE),--device "$$DEVICE")

# One thread per test process: two processes of two threads on two cores slow each other down tenfold.
# Whole files, in the order of tests/conftest.py: longest first. A process runs its references in one kernel.
PYTEST = OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder --nbval-one-kernel

.PHONY: help setup pythons book pdf notebooks test test-full promises reference bench lint clean
.DEFAULT_GOAL := help

help:            ## list the tasks
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP)  ## create .venv from requirements.lock (the other tasks do it by themselves)

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("splithistory needs Python 3.11 or newer, $(PYTHON) is %d.%d" % sys.version_info[:2] if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

pythons:         ## make .venv-3.12 and .venv-3.13 for the tests (PYTHONS="python3.13"; some gigabytes each)
	@for python in $(PYTHONS); do \
	  into=.venv-$$($$python -c 'import sys; print("%d.%d" % sys.version_info[:2])') || exit 1; \
	  $$python -m venv $$into && $$into/bin/python -m pip install --quiet --editable '.[book,dev,worlds]' || exit 1; \
	done

book: $(STAMP)   ## execute every chapter, render it to _build (PROFILE=smoke FRESH=1 STORE=dir DEVICE=cuda)
	@$(BIN)/splithistory book $(BOOK_OPTIONS)

pdf: $(STAMP)    ## print the rendered book to _build/split-history.pdf (after `make book`; needs Chromium)
	@$(BIN)/splithistory pdf

notebooks: $(STAMP)  ## write the chapters as plain notebooks, for JupyterLab or papermill, to _build/notebooks
	@$(BIN)/splithistory chapter --plain

test: $(STAMP)   ## the fast tests, and every chapter against its reference
	$(PYTEST) -m "not slow"

test-full: $(STAMP)  ## all tests: trains from scratch, opens a browser
	$(PYTEST)

promises: $(STAMP)  ## run all tests (FAST=1: the fast ones), and publish what they tried and which lines ran
	@$(BIN)/python benchmarks/promises.py $(if $(FAST),--fast)

reference: $(STAMP)  ## renew tests/reference after a chapter changed
	@$(BIN)/splithistory reference

bench: $(STAMP)  ## measure speed and memory on this machine (10 minutes; nothing else should run)
	@$(BIN)/python benchmarks/bench.py

lint: $(STAMP)   ## check the style of the code and its types
	$(BIN)/ruff check
	$(BIN)/mypy

clean:           ## remove what was built; .venv stays
	rm -rf _build .pytest_cache .ruff_cache .mypy_cache
