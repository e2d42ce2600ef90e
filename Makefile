# README's commands. Everything they need is installed into .venv by themselves.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-all lint format types docs bench clean

help:            ## show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 14

# The stamp is written last: an interrupted installation is taken up again, a finished one is not repeated.
$(BIN)/.ready: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' \
	  || { echo "Python 3.10 or newer is needed: make PYTHON=/path/to/python3" >&2; exit 1; }
	@echo "setting up $(VENV) (once: a minute or more, and 2 GB)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

setup: $(BIN)/.ready  ## make .venv with everything the tests and the demo need

demo: setup      ## make a two-person clip with sound and run the real pipeline on it
	@$(BIN)/dualface demo --output demo-out

lint: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: setup
	$(BIN)/mypy

test: lint types ## format, lint, types and all tests but the long ones
	$(BIN)/python -m pytest -m 'not long'

test-all: lint types ## the long tests too
	$(BIN)/python -m pytest

format: setup    ## rewrite the code in the house style
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: setup      ## rewrite configs/default.yaml and docs/settings.md from the settings models
	$(BIN)/python -m dualface_ray.settings.describe

bench: setup     ## the CPU benchmark of docs/performance.md
	$(BIN)/dualface bench cpu

clean:           ## remove what the commands above made
	rm -rf $(VENV) demo-out .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist
