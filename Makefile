# make sweep   a sweep that needs no download         make test      the tests
# make lint    ruff, import-linter and pyright        make test-all  the slow tests too
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.PHONY: sweep test test-all lint clean
.DELETE_ON_ERROR:

sweep: $(READY)
	$(BIN)/python sweeps/full_grid.py

test: $(READY)
	$(BIN)/python -m pytest -m "not slow"

test-all: $(READY)
	$(BIN)/python -m pytest

lint: $(READY)
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/lint-imports --no-logo && $(BIN)/pyright --pythonpath $(BIN)/python

# Install again when the pins change.
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("crowdml needs Python 3.11 or newer: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	touch $(READY)

clean:
	rm -rf .venv results
