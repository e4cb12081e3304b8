# make demo | test | lint | bench | clean.  Another interpreter: make test PYTHON=python3.12
PYTHON ?= python3
VENV   ?= .venv
JOBS   ?= 2
PYTEST_ARGS ?=
ACCURACY_ARGS ?=
BENCH_OUT ?= build/bench
BENCHMARKS := kernels networks scaling break_even compile_time size

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
TYPECHECK := $(VENV)/typecheck

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test lint typecheck bench accuracy clean compiler

help:
	@echo 'make demo    compile a small binarized network, check it, time it against the float build'
	@echo 'make test    the whole test-suite (PYTEST_ARGS=--full: its sweeps at full length)'
	@echo 'make lint    ruff, mypy, and which way imports go'
	@echo 'make bench   the measurements that the README quotes, in short form, to $(BENCH_OUT)'
	@echo 'make accuracy  train ABC networks on MNIST and Fashion-MNIST (ACCURACY_ARGS)'
	@echo 'make clean   remove $(VENV) and all caches'

demo: compiler $(VENV)/.bench
	$(BIN)/python -m abc_tvm.demo

test: compiler $(VENV)/.dev
	$(BIN)/python -m pytest -q -n $(JOBS) $(PYTEST_ARGS)

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@$(MAKE) --no-print-directory typecheck

# mypy and import-linter follow import names, and three packages live outside abc_tvm/: so they
# read the wheel, unpacked inside the environment. The folder stays, and with it mypy's cache stays valid.
# A copy is built, because setuptools leaves its own folders next to what it builds.
typecheck: $(VENV)/.dev
	@rm -rf $(TYPECHECK) && mkdir -p $(TYPECHECK)/source
	@cp -r abc_tvm relay_passes schedules targets pyproject.toml setup.py LICENSE \
	    $(wildcard README.md) $(TYPECHECK)/source
	$(PIP) install --no-deps --no-build-isolation --target $(TYPECHECK)/wheel $(TYPECHECK)/source
	@rm -rf $(TYPECHECK)/source
	MYPYPATH=$(TYPECHECK)/wheel $(BIN)/mypy --config-file pyproject.toml -p abc_tvm
	cd $(TYPECHECK)/wheel && $(abspath $(BIN))/lint-imports --no-cache --no-logo $(CURDIR)/pyproject.toml

# The short form of every measurement, about a quarter of an hour; the long forms, one command each,
# write to benchmarks/results. A script that misses a tool (an emulator, llvm-mca) says so with
# exit code 2; the others go on.
bench: compiler $(VENV)/.bench
	@for name in $(BENCHMARKS); do \
	    echo "== benchmarks/$$name.py --quick"; \
	    $(BIN)/python "benchmarks/$$name.py" --quick --out $(BENCH_OUT) || [ $$? -eq 2 ] || exit 1; \
	done

# Trains: 20 minutes on two cores. --preset long or gpu trains longer.
accuracy: compiler $(VENV)/.bench $(VENV)/.torch
	$(BIN)/python benchmarks/accuracy.py $(ACCURACY_ARGS)

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# TVM takes the first of these to link what it compiles; a C compiler alone is enough.
compiler:
	@test -n "$${CXX:-$$CC}" && exit 0; \
	for cc in g++ gcc clang++ clang c++ cc; do \
	    command -v $$cc >/dev/null 2>&1 && exit 0; \
	done; \
	echo 'abc-tvm links what it compiles with the system C compiler, and there is none:' \
	    'install one (Debian: apt install gcc libc6-dev) or name it in CC' >&2; \
	exit 1

# One stamp per set of extras: nothing is installed again until pyproject.toml changes.
$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' || { \
	    echo 'abc-tvm needs Python 3.10 to 3.13, and $(PYTHON) is none of them:' \
	        'make $(MAKECMDGOALS) PYTHON=python3.12' >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
	    echo 'could not create $(VENV) (Debian: apt install python3-venv)' >&2; exit 1; }

# Order-only: the interpreter is a link, and its own age says nothing about what is installed.
$(VENV)/.bench $(VENV)/.torch $(VENV)/.dev: $(VENV)/.%: pyproject.toml setup.py | $(VENV)/bin/python
	$(PIP) install --editable '.[$*]'
	@touch $@
