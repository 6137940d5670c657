# The two commands of the README, and the longer ones. Everything runs in .venv, which is made on first use.
PYTHON ?= python3
BIN := .venv/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: demo test check bench test-long clean

demo: .venv/.installed
	$(BIN)/limex demo $(ARGS)

test: .venv/.installed-dev check
	$(BIN)/python -m pytest

check: .venv/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: .venv/.installed
	$(BIN)/limex bench $(ARGS)

# Slow suites, about an hour: 20 demos, 100,000 trades certified in AC, a million fuzzed payloads, two million commands raced
# against the naive model.
test-long: .venv/.installed-dev
	$(BIN)/python -m benchmarks.seeds --seeds 20
	$(BIN)/python -m benchmarks.fuzz_payloads --payloads 1000000
	$(BIN)/python -m benchmarks.false_accepts --trades 100000
	$(BIN)/python -m tests.test_model --commands 2000000

.venv/.installed: pyproject.toml
	$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11), "limex needs Python 3.11 or later"'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --editable .
	touch $@

.venv/.installed-dev: .venv/.installed
	$(BIN)/pip install --quiet --editable '.[dev]'
	touch $@

clean:
	rm -rf .venv build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
