# `make demo` and `make test` set up what they need; each works first on a clean clone.
# PYTHON names the interpreter (3.11 or newer); TORCH_INDEX_URL may name another wheel source.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
ifdef TORCH_INDEX_URL
PIP += --extra-index-url $(TORCH_INDEX_URL)
endif

.PHONY: demo test lint evidence campaigns cuda clean

demo: $(VENV)/.installed
	$(BIN)/nasgen search --preset demo

test: $(VENV)/.installed-dev lint
	$(BIN)/python -m pytest -n auto --dist loadfile

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

evidence: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -m slow

# Half an hour on two cores; what was run on this code already is left out. See docs/reliability.md.
campaigns: $(VENV)/.installed-dev
	$(BIN)/python -m tests.campaigns --jobs 2

# A few minutes on a machine with a CUDA device; without one every test is skipped.
cuda: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -m cuda -ra tests
	$(BIN)/python benchmarks/support.py --device cuda --batch 256

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "nasgen needs Python 3.11 or newer; set PYTHON=...")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(VENV)/bin/python pyproject.toml constraints.txt
	$(PIP) torch
	$(PIP) -e .
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(PIP) -e '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis
