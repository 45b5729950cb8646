# Paybond: every target does its own set-up; a second run is quick. `make help` lists them.
# Needs Python ≥ 3.11, make and a C library. `kafka` and `test-apache` need Java ≥ 17 and Maven too, and the latter curl.

PYTHON ?= python3
# Only `make lock` uses it, in an environment of its own: a newcomer needs no uv.
UV_VERSION := 0.13.9

VENV := .venv
BIN := $(VENV)/bin
VENV_STAMP := $(VENV)/.paybond-stamp
KAFKA_STAMP := .paybond/kafka/libs/paybond.stamp
# In one process: the simulator's seeds ask for every core, and an idle embedded broker takes most of another.
TESTS := tests/unit tests/tidy tests/contract tests/simulation tests/integration tests/e2e
# The longest first, so that no process has one left when the other has none.
APACHE_TESTS := tests/e2e tests/integration tests/contract
# They mostly wait for a broker, so two processes take little more than half the time; each has a broker of its own.
APACHE_PROCESSES ?= 2
APACHE_FLAGS := --apache-lane --numprocesses $(APACHE_PROCESSES) --dist loadfile --no-loadscope-reorder
# The same tests as everywhere, with the numbers of `tests/support/depth.py` for those who have hours.
DEEP_TESTS := tests/simulation tests/integration/harbor/test_compaction_storm.py tests/e2e/kills
# These have their Kafka in memory, and are left out on another broker.
DEEP_EMBEDDED_TESTS := tests/integration/gateway/isolation/test_generated_requests.py
# What they print shows how far they are; each has walls of its own against a hang.
DEEP_FLAGS := -s --timeout 0
PYTEST_FLAGS ?= -q

.PHONY: help venv lock test test-apache test-kills test-deep bench kafka check format lint types imports wheel-smoke demo clean

help: ## show the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' Makefile | awk -F'\t' '{ printf "  make %-12s %s\n", $$1, $$2 }'

venv: $(VENV_STAMP) ## the environment in .venv, from the lock

$(VENV_STAMP): requirements/lock.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Paybond needs Python 3.11 or later; say which: make PYTHON=/path/to/python3.11" >&2; exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' || \
	  { echo "This Python can't make environments: install its venv package (Debian: python3-venv)" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements/lock.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

lock: ## write requirements/lock.txt from pyproject.toml; versions stay unless they must move
	$(PYTHON) -m venv .paybond/lock-environment
	.paybond/lock-environment/bin/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	.paybond/lock-environment/bin/uv pip compile --quiet --universal --python-version 3.11 --group dev \
	  --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --no-annotate \
	  --output-file requirements/lock.txt pyproject.toml

test: venv ## all tests, on the embedded broker and the embedded PostgreSQL
	PAYBOND_TEST_KAFKA=embedded $(BIN)/python -m pytest $(PYTEST_FLAGS) $(TESTS)

kafka: venv ## fetch Apache Kafka and its tools into .paybond/kafka
	$(BIN)/python -m deploy.local.apache_kafka

test-apache: kafka ## contract, integration and e2e tests on Apache Kafka; a skip is a failure
	PAYBOND_TEST_KAFKA=apache $(BIN)/python -m pytest $(PYTEST_FLAGS) $(APACHE_FLAGS) $(APACHE_TESTS)

test-kills: kafka ## 30 kills of every process over 20,000 commands, on Apache Kafka; about ten minutes
	PAYBOND_TEST_DEPTH=long PAYBOND_TEST_KAFKA=apache $(BIN)/python -m pytest $(PYTEST_FLAGS) $(DEEP_FLAGS) tests/e2e/kills/test_kills.py

test-deep: kafka ## every test that has deep numbers, on Apache Kafka but for the generated requests; takes hours
	PAYBOND_TEST_DEPTH=deep PAYBOND_TEST_KAFKA=embedded $(BIN)/python -m pytest $(PYTEST_FLAGS) $(DEEP_FLAGS) $(DEEP_EMBEDDED_TESTS)
	PAYBOND_TEST_DEPTH=deep PAYBOND_TEST_KAFKA=apache $(BIN)/python -m pytest $(PYTEST_FLAGS) $(DEEP_FLAGS) $(DEEP_TESTS)

bench: kafka ## measure on Apache Kafka, print the figures, write .paybond/bench.json
	$(BIN)/python -m tests.bench $(BENCH)

format: venv ## write the code the way the formatter wants it
	$(BIN)/ruff format .

lint: venv
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: venv
	$(BIN)/mypy

imports: venv
	$(BIN)/lint-imports

wheel-smoke: venv ## build the wheel, install it in a throw-away environment, ask each program for help
	sh .ci/wheel_smoke $(BIN)/python

check: lint types imports test wheel-smoke test-apache ## what CI runs, but for the clean install

demo: venv ## bring everything up and show what it does
	$(BIN)/paybond-local demo --up

clean: ## remove environment, caches and builds; .paybond (your data) stays
	rm -rf $(VENV) dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
