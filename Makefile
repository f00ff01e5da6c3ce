# Everything runs in a virtual environment of its own, made on first use.
# Needed beforehand: Python 3.10 or newer, a C compiler, make.
#
#   make test PYTHON=python3.12     another interpreter (the environment is made anew)
#   make test VENV=.venv-other      another environment
#   make test ARGS="-k decoder"     arguments handed on to pytest, the demo or the benchmark
#   HISOCK_PURE_PYTHON=1 make test  no compiler: the Python framing core

PYTHON ?= python3
VENV ?= .venv
ARGS ?=

BIN := $(VENV)/bin
PY := $(BIN)/python
# Programs in texts are laid out by hand, to stay short.
FORMAT := $(PY) -m ruff format --config 'format.exclude = ["*.md"]'
PIP := $(PY) -m pip --disable-pip-version-check --quiet

# The interpreter is part of the stamp's name, so that another PYTHON makes the environment anew.
TAG := $(shell $(PYTHON) -c "import sys; print('%s-%d.%d' % (sys.implementation.name, *sys.version_info[:2]))")
ifeq ($(TAG),)
$(error $(PYTHON) does not run; give another one: make PYTHON=/path/to/python3)
endif

# Here a missing compiler is an error. Users get a note and the Python core instead.
ifeq ($(filter-out 0,$(HISOCK_PURE_PYTHON)),)
CORE := compiled
BUILD_ENV := HISOCK_REQUIRE_EXTENSION=1
else
CORE := python
BUILD_ENV := HISOCK_PURE_PYTHON=1
endif

MADE := $(VENV)/.made-with-$(TAG)
READY := $(VENV)/.ready-$(CORE)
DOCS_READY := $(VENV)/.ready-docs
SOURCES := pyproject.toml setup.py hisock/_framing.pyx

.PHONY: rebuild help demo test lint format bench bench-full docs wheel venv clean
.DEFAULT_GOAL := help

help:  ## say what can be made
	@grep -E '^[a-z-]+:.*## ' Makefile | sed -e 's/:.*## /|/' | awk -F'|' '{printf "make %-12s %s\n", $$1, $$2}'

demo: $(READY)  ## a game server and its players on this machine, for ten seconds
	$(PY) -m hisock demo $(ARGS)

test: $(READY)  ## the test suite
	$(PY) -m pytest $(ARGS)

# tests/*/programs are written as users of 2.0.2 write, without annotations.
lint: $(READY)  ## ruff (rules and format) and mypy --strict
	$(PY) -m ruff check .
	$(FORMAT) --check .
	$(PY) -m mypy --strict --exclude '/programs/' hisock tests bench examples

format: $(READY)  ## let ruff rewrite what it can
	$(PY) -m ruff check --fix .
	$(FORMAT) .

bench: $(READY)  ## the quick benchmark, peers included
	$(PY) -m bench.e2e quick $(ARGS)

bench-full: $(READY)  ## the long benchmark
	$(PY) -m bench.e2e full $(ARGS)

docs: $(DOCS_READY)  ## the documentation, in docs/_build/html
	$(PY) -m sphinx -W --keep-going -q -b html docs docs/_build/html
	@echo "The pages are in docs/_build/html"

wheel: $(READY)  ## sdist and wheel, in dist/
	rm -rf dist
	$(BUILD_ENV) $(PY) -m build --outdir dist

venv: $(READY)  ## only the environment

clean:  ## remove the environment and everything built
	rm -rf $(VENV) build dist wheelhouse docs/_build *.egg-info
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .benchmarks .bench .cache
	rm -f hisock/_framing.c hisock/_framing.html hisock/_framing*.so
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# An environment that another interpreter made is emptied first.
$(MADE):
	$(PYTHON) -m venv --clear $(VENV)
	touch $@

$(READY): $(MADE) $(SOURCES)
	$(BUILD_ENV) $(PIP) install --editable '.[dev]' || \
		{ echo "This needs a C compiler and PyPI. Without a compiler: HISOCK_PURE_PYTHON=1 make ..."; exit 1; }
	$(BUILD_ENV) $(PY) -c "from hisock.framing import IMPLEMENTATION as core; assert core == '$(CORE)', core"
	touch $@

# Somebody removed the extension: build it again rather than test the wrong core.
ifeq ($(CORE)$(wildcard hisock/_framing.*.so),compiled)
$(READY): rebuild
endif

$(DOCS_READY): $(READY)
	$(BUILD_ENV) $(PIP) install --editable '.[dev,docs]'
	touch $@
