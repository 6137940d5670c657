# The two commands of the README, and the longer ones. Everything runs in .venv, which is made on first use.
PYTHON ?= python3
BIN := .venv/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: demo test check bench docs test-long clean

demo: .venv/.installed
	$(BIN)/limex demo $(ARGS)

test: .venv/.installed-dev check
	$(BIN)/python -m pytest -n auto --dist loadfile

check: .venv/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: .venv/.installed
	$(BIN)/limex bench $(ARGS)

# Runs the pages whose code is run, and writes what their blocks print and draw.
docs: .venv/.installed
	$(BIN)/python docs/build.py

# Slow suites, several hours: 20 demos, a million trades on nine networks attacked in AC, what the rows leave on the table, welfare
# beside HiGHS, the cascade from TSO to home in whole-network AC, four paradigms over 20 days, a million fuzzed payloads, ten million
# commands raced against the naive model, mutants, a thousand kills, a week of market time, the closed form against OSQP, the power
# flows against pandapower and OpenDSS.
test-long: .venv/.installed-dev
	$(BIN)/python -m benchmarks.seeds --seeds 20
	$(BIN)/python -m benchmarks.fuzz_payloads --payloads 1000000
	$(BIN)/python -m benchmarks.false_accepts
	$(BIN)/python -m benchmarks.left_on_table
	$(BIN)/python -m benchmarks.welfare
	$(BIN)/python -m benchmarks.allocation
	$(BIN)/python -m benchmarks.cascade --samples 100000
	$(BIN)/python -m benchmarks.scale
	$(BIN)/limex compare --days 20 --out comparison
	$(BIN)/python -m benchmarks.reference --trades 100000
	$(BIN)/python -m benchmarks.validation
	$(BIN)/python -m benchmarks.crash_boundaries
	$(BIN)/python -m benchmarks.crash_loop --kills 1000
	$(BIN)/python -m benchmarks.resting
	$(BIN)/python -m benchmarks.soak
	$(BIN)/python -m tests.mutation --all --workers 2 --verdicts mutants.jsonl
	$(BIN)/python -m tests.test_model --commands 10000000

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
