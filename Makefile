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
# How long each target is fuzzed, and how long clients come and go.
FUZZ_SECONDS ?= 30
# Percent of lines and branches that the tests reach at least: in the core and the framing, in all.
CORE_COVERED ?= 99.9
ALL_COVERED ?= 95
SOAK_SECONDS ?= 600
ATTACK_SECONDS ?= 120
MODEL_MINUTES ?= 20

# Five processes on two cores, since many tests wait for a process that they started, or for a time-out.
# By files, in the order of their folders: the fewest tests of a file are often the longest, and
# xdist would leave those to the end, where one process works and the others have nothing to do.
PARALLEL := -n 5 --dist loadfile --no-loadscope-reorder

BIN := $(VENV)/bin
PY := $(BIN)/python
# Programs in texts are laid out by hand, to stay short.
FORMAT := $(PY) -m ruff format --config 'format.exclude = ["*.md"]'
PIP := $(PY) -m pip --disable-pip-version-check --quiet

# The interpreter is part of the stamp's name, so that another PYTHON makes the environment anew.
TAG := $(shell $(PYTHON) -c "import sys; print('%s-%d.%d' % (sys.implementation.name, *sys.version_info[:2]))")
SUFFIX := $(shell $(PYTHON) -c "import sysconfig; print(sysconfig.get_config_var('EXT_SUFFIX'))")
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
FUZZ_READY := $(VENV)/.ready-fuzz
RELEASE_READY := $(VENV)/.ready-release
SOURCES := pyproject.toml setup.py $(shell find hisock -name '*.p[yx][xdi]')

# The extension with sanitizers lies apart, and is found first by what runs in its folder.
SANITIZED := $(CURDIR)/build/sanitized
SANITIZE := -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer -g
# Every object is an allocation of its own then. The interpreter itself leaks on purpose.
RUN_SANITIZED = cd $(SANITIZED)/lib && PYTHONPATH=$(CURDIR) PYTHONMALLOC=malloc \
	ASAN_OPTIONS=detect_leaks=0 \
	LD_PRELOAD="$$(gcc -print-file-name=libasan.so) $$(gcc -print-file-name=libubsan.so)" \
	$(abspath $(PY)) -m

.PHONY: rebuild help demo test test-once test-dev test-js test-web test-over-websocket coverage coverage-choice coverage-run coverage-report \
	lint format bench bench-full fuzz asan soak soak-cluster attacks model model-slow model-faults crowd docs \
	changelog dist lint-release venv clean
.DEFAULT_GOAL := help

help:  ## say what can be made
	@grep -E '^[a-z-]+:.*## ' Makefile | sed -e 's/:.*## /|/' | awk -F'|' '{printf "make %-12s %s\n", $$1, $$2}'

demo: $(READY)  ## a game server and its players, for ten seconds; ARGS=--web: on a page, play along
	$(PY) -m hisock demo $(ARGS)

test: $(READY)  ## the test suite
	$(PY) -m pytest $(PARALLEL) $(ARGS)

test-once: $(READY)  ## what is the same on every Python: distributions, types, the JavaScript client
	$(PY) -m pytest $(PARALLEL) -m once $(ARGS)

test-dev: $(READY)  ## the test suite in Python's development mode, where leaks are errors
	PYTHONMALLOC=debug $(PY) -X dev -W error::ResourceWarning -m pytest \
		-W error::pytest.PytestUnraisableExceptionWarning $(ARGS)

test-js: js/node_modules/.package-lock.json  ## the JavaScript client: size, types, tests in Node, Bun and Deno
	cd js && npm test --silent

test-web: $(READY) js/node_modules/.package-lock.json  ## the JavaScript client with servers: Chromium, Firefox, Bun, Deno
	cd js && npm run --silent build
	HISOCK_TEST_BROWSER=1 $(PY) -m pytest tests/websocket/test_javascript.py \
		tests/websocket/test_browser.py tests/websocket/test_demo_web.py \
		tests/websocket/test_whiteboard.py tests/websocket/test_asgi_servers.py -m "" $(ARGS)

# Those that a WebSocket cannot carry are listed with reasons in tests/websocket/over.py. Programs that
# tests start (tests/compat, tests/interop) have a process of their own, where nothing is put between.
OVER_WEBSOCKET := tests/features tests/hostile tests/reliability
test-over-websocket: $(READY)  ## features, hostile, reliability with a WebSocket between server and client, by both engines
	for engine in picows websockets; do \
		HISOCK_TEST_OVER=$$engine $(PY) -m pytest $(PARALLEL) $(or $(ARGS),$(OVER_WEBSOCKET)) || exit 1; \
	done

js/node_modules/.package-lock.json: js/package.json js/package-lock.json
	@command -v npm >/dev/null || { echo "This needs Node 20 or newer, and npm."; exit 1; }
	cd js && npm ci --silent

# The Python core has a line for each of the compiled one's, and is what is measured. Left out is
# what tests texts, tools and builds, and a test that collects garbage at every allocation, which a
# tracer makes without end. Lines that need no test say why: "# pragma: no cover - because".
COVERAGE := $(PY) -m coverage
CORE_FILES := 'hisock/_core/*,hisock/_*_py.py,hisock/_framing_common.py,hisock/framing.py'
COVERED := --ignore=tests/docs --deselect tests/framing/test_fan_out.py::test_the_collector_may_run_anything_during_a_fan_out

coverage:  ## the test suite over the Python core; fails below 99.9 % of the core and 95 % of all
	rm -rf .cache/coverage
	$(MAKE) coverage-choice coverage-run coverage-report

# How the core is chosen, and what is for the compiled one only.
coverage-choice: $(READY)
	mkdir -p .cache/coverage
	$(COVERAGE) run -m pytest -q tests/framing/test_choice.py tests/framing/test_sending.py

# It adds to what is there, so that what failed can be run once more.
coverage-run: $(READY)
	mkdir -p .cache/coverage
	HISOCK_PURE_PYTHON=1 $(COVERAGE) run -m pytest $(PARALLEL) --timeout 240 tests $(COVERED) \
		$(ARGS)

coverage-report: $(READY)
	$(COVERAGE) combine -q --keep
	$(COVERAGE) html -q -d .cache/coverage/html --fail-under=0
	$(COVERAGE) report --precision=1 --fail-under=$(CORE_COVERED) --include=$(CORE_FILES)
	$(COVERAGE) report --fail-under=$(ALL_COVERED)

# tests/*/programs are written as users of 2.0.2 write, without annotations.
lint: $(READY)  ## ruff (rules and format) and mypy --strict
	$(PY) -m ruff check .
	$(FORMAT) --check .
	$(PY) -m mypy --strict --exclude '/programs/' hisock tests bench examples fuzz soak release

format: $(READY)  ## let ruff rewrite what it can
	$(PY) -m ruff check --fix .
	$(FORMAT) .

bench: $(READY)  ## the quick benchmark, peers included
	$(PY) -m bench.e2e quick --charts docs/images $(ARGS)

bench-full: $(READY)  ## the long benchmark
	$(PY) -m bench.e2e full $(ARGS)

# What breaks a promise is left in fuzz/found; put into fuzz/corpus, it is a test.
fuzz: $(FUZZ_READY)  ## random bytes for FUZZ_SECONDS per target, and a million mutated frames
	for target in decoder hello casting server; do \
		$(PY) -m fuzz $$target --seconds $(FUZZ_SECONDS) || exit 1; \
	done
	$(PY) -m fuzz.mutation $(ARGS)

asan: $(READY)  ## the extension under AddressSanitizer and UBSan (gcc, Linux)
	rm -rf $(SANITIZED)
	CFLAGS="$(SANITIZE)" LDFLAGS="$(SANITIZE)" HISOCK_REQUIRE_EXTENSION=1 $(PY) setup.py -q \
		build --build-base $(SANITIZED) --build-lib $(SANITIZED)/lib
	nm -D $(SANITIZED)/lib/hisock/_framing.*.so | grep -q __asan_report
	$(RUN_SANITIZED) fuzz.mutation --frames 50000
	$(RUN_SANITIZED) pytest -c $(CURDIR)/pyproject.toml --rootdir $(CURDIR) -p no:cacheprovider \
		$(CURDIR)/tests/framing --ignore $(CURDIR)/tests/framing/test_build_modes.py \
		$(CURDIR)/tests/reliability/test_fuzzing.py $(CURDIR)/tests/reliability/test_model.py $(ARGS)

soak: $(READY)  ## clients come, talk, die for SOAK_SECONDS; nothing is lost, nothing leaks
	$(PY) -m soak --seconds $(SOAK_SECONDS) $(ARGS)
	$(PY) -m soak.slow

model: $(READY)  ## two models of the server against the real one, for MODEL_MINUTES
	$(PY) -m soak.model --minutes $(MODEL_MINUTES) $(ARGS)

model-slow: $(READY)  ## the models of slow clients and of decisions, with examples never tried
	for round in 1 2 3 4 5 6 7 8 9 10; do \
		HISOCK_MODEL=random $(PY) -m pytest -q tests/reliability/test_model_slow.py \
			tests/reliability/test_model_decisions.py || exit 1; \
	done

soak-cluster: $(READY)  ## servers of a cluster and brokers are killed, stopped and restarted; ARGS=--short
	$(PY) -m soak.cluster $(ARGS)

model-faults: $(READY)  ## faults planted one by one, each of which a model must find
	$(PY) -m soak.faults $(ARGS)

attacks: $(READY)  ## all attacks beside a hundred good clients, for ATTACK_SECONDS
	$(PY) -m soak.attacks --seconds $(ATTACK_SECONDS) $(ARGS)

crowd: $(READY)  ## ten thousand clients at once
	$(PY) -m soak.crowd $(ARGS)

docs: $(DOCS_READY)  ## the documentation, in docs/_build/html
	$(PY) -m sphinx -W --keep-going -q -b html docs docs/_build/html
	@echo "The pages are in docs/_build/html"

# The version that fragments become a section of CHANGELOG.md for; empty shows it only.
VERSION ?=
changelog: $(RELEASE_READY)  ## what changelog.d makes; with VERSION=3.1.0 it goes into CHANGELOG.md
	$(PY) -m towncrier build --version $(or $(VERSION),next) $(if $(VERSION),--yes,--draft)

dist: $(RELEASE_READY)  ## sdist and wheels for each Python found, each installed and used, in dist/
	rm -rf dist
	$(PY) -m release $(ARGS)

# The workflows are checked without GitHub, the container file without Docker.
lint-release: $(RELEASE_READY)  ## workflows (zizmor), Dockerfile (hadolint), and which wheels will be built
	$(BIN)/zizmor --offline --quiet .github
	$(BIN)/hadolint Dockerfile
	for platform in linux macos windows; do \
		$(PY) -m cibuildwheel --print-build-identifiers --platform $$platform | xargs || exit 1; \
	done

venv: $(READY)  ## only the environment

clean:  ## remove the environment and everything built
	rm -rf $(VENV) build dist wheelhouse docs/_build *.egg-info
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .benchmarks .bench .cache
	rm -f hisock/_building*.so hisock/_entries*.so hisock/_framing*.so hisock/_messages*.so hisock/_outbox*.so hisock/_turn*.so
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# pip knows groups from 25.1 on. An environment that another interpreter made is emptied first.
$(MADE):
	$(PYTHON) -m venv --clear $(VENV)
	touch $@

$(READY): $(MADE) $(SOURCES)
	{ $(PIP) install --upgrade 'pip>=25.1' && \
		$(BUILD_ENV) $(PIP) install --editable '.[cli,fast]' --group dev; } || \
		{ echo "This needs a C compiler and PyPI. Without a compiler: HISOCK_PURE_PYTHON=1 make ..."; exit 1; }
	$(BUILD_ENV) $(PY) -c "from hisock.framing import IMPLEMENTATION as core; assert core == '$(CORE)', core"
	touch $@

# Somebody removed the extension: build it again rather than test the wrong core.
ifeq ($(CORE)$(wildcard hisock/_framing$(SUFFIX)),compiled)
$(READY): rebuild
endif

# There are wheels of atheris for Linux, from Python 3.11 on.
$(FUZZ_READY): $(READY)
	$(PIP) install 'atheris>=2.3'
	touch $@

$(RELEASE_READY): $(READY)
	$(PIP) install --group release
	touch $@

$(DOCS_READY): $(READY)
	$(PIP) install --group docs
	touch $@
