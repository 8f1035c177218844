# `make demo` and `make test` set up what they need; each works first on a clean clone.
# PYTHON names the interpreter (3.11 or newer); TORCH_INDEX_URL may name another source of torch.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
ifdef TORCH_INDEX_URL
PIP += --extra-index-url $(TORCH_INDEX_URL)
endif

# The CPU build of torch is taken wherever pip finds one and there is no GPU: it is far smaller.
TORCH := $(shell sed -n 's/^torch==\([0-9.]*\).*/\1/p' constraints.txt)
SYSTEM ?= $(shell uname -s)
GPU ?= $(wildcard /dev/nvidia0)
define LARGE
Installing torch with CUDA: it downloads about 2.7 GB, and the environment takes 5.0 GB.
A CPU build needs 1.3 GB in all. To have it, press Ctrl-C and name its package index:
  make demo TORCH_INDEX_URL=URL
https://pytorch.org/get-started/locally shows the URL when you choose pip and CPU.
endef
export LARGE

.PHONY: demo test lint evidence campaigns cuda lowest clean

demo: $(VENV)/.installed
	$(BIN)/nasgen search --preset demo

# Bytecode is written even where the environment says not to: many tests start a Python of their own,
# and each would compile nasgen again, as each test process would the tests.
test: $(VENV)/.installed-dev lint
	PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n auto --dist loadfile

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

# The lowest versions that pyproject.toml allows. Warnings of old libraries about new ones are let be.
lowest:
	$(PYTHON) -m venv $(VENV)-lowest
	$(PYTHON) benchmarks/lowest.py > $(VENV)-lowest/lowest.txt
	$(VENV)-lowest/bin/python -m pip install --quiet -c $(VENV)-lowest/lowest.txt -e '.[dev]'
	$(VENV)-lowest/bin/python -m pytest -q -o filterwarnings=default tests/cli tests/data tests/genotypes \
		tests/predictors tests/progress tests/report tests/run/test_search_loop.py tests/stoppers tests/store

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "nasgen needs Python 3.11 or newer; set PYTHON=...")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(VENV)/bin/python pyproject.toml constraints.txt
	@if [ "$(SYSTEM)" != Linux ]; then $(PIP) torch; \
	elif [ -z "$(GPU)" ] && $(PIP) "torch==$(TORCH)+cpu" 2>/dev/null; then \
		echo "torch $(TORCH): CPU build"; \
	else echo "$$LARGE"; $(PIP) torch; fi
	$(PIP) -e .
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(PIP) -e '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) $(VENV)-lowest .pytest_cache .mypy_cache .ruff_cache .hypothesis
