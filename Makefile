# Two commands are all one needs, from a bare clone with Python >= 3.11: `make demo` and `make test`.
#
# PYTHON=... chooses the interpreter, VENV=... the folder of the environment, ARGS=... goes to pytest.
# pip reads its own settings (PIP_INDEX_URL, pip.conf, ...); the package registry is the only thing that is fetched.

VENV ?= .venv
CANDIDATES := $(or $(PYTHON),python3 python3.13 python3.12 python3.11 python)
OMP_NUM_THREADS ?= $(shell nproc 2>/dev/null || getconf _NPROCESSORS_ONLN 2>/dev/null || echo 1)
export OMP_NUM_THREADS

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check

.PHONY: help demo test lint clean
.DELETE_ON_ERROR:

help:
	@echo "make demo    fit, generate and validate on real showers; ends with a report"
	@echo "make test    run the tests"
	@echo "make lint    style and types"
	@echo "make clean   remove the environment and what was built"

demo: $(VENV)/.run
	$(BIN)/maquette demo calorimeter

# Two processes share the test files, and many tests start processes of their own: one thread each.
test: $(VENV)/.test
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile $(ARGS)

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright --pythonpath $(BIN)/python

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# An environment is installed again when what it must hold has changed; a larger one holds the smaller.
$(VENV)/.run: pyproject.toml | $(BIN)/python
	$(PIP) -e .
	@touch $@

$(VENV)/.test: pyproject.toml | $(BIN)/python
	$(PIP) -e ".[test]"
	@touch $(VENV)/.run $@

$(VENV)/.dev: pyproject.toml | $(BIN)/python
	$(PIP) -e ".[dev]"
	@touch $(VENV)/.run $(VENV)/.test $@

$(BIN)/python:
	@found=""; \
	for candidate in $(CANDIDATES); do \
	  if $$candidate -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	    found=$$candidate; break; \
	  fi; \
	done; \
	if [ -z "$$found" ]; then \
	  echo "Python 3.11 or later is needed, and none is found among: $(CANDIDATES). Install one, or name it: make PYTHON=/path/to/python3 ..." >&2; \
	  exit 1; \
	fi; \
	echo "creating $(VENV) with $$($$found --version)"; \
	$$found -m venv $(VENV) || { \
	  rm -rf $(VENV); \
	  echo "No environment could be made with $$found; its module venv is needed (on Debian: apt install python3-venv)." >&2; \
	  exit 1; \
	}
