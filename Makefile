# Two commands to start with: make demo, make test. `make help` lists the others.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Two processes share the tests (tests/side_by_side.py). One runs what is asked for: make test PYTEST="-k name"
PYTEST := -n 2 --durations=20
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check

.PHONY: help demo test lint types types-linux types-win32 bench simulate clean

help:  ## list the targets
	@grep -E '^[a-z]+:.*##' Makefile | sed 's/:.*## /\t/'

$(VENV)/installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "ras-runner needs Python 3.11 or later; say which: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --editable .
	@touch $@

$(VENV)/installed-tests: $(VENV)/installed
	$(PIP) install --editable '.[test,test-windows,dev]'
	@touch $@

demo: $(VENV)/installed  ## write an example project, run it with the stand-in engine, make a report
	$(BIN)/ras-runner demo demo

test: $(VENV)/installed-tests  ## install what the tests need, and run them all
	bash tests/install-services.sh
	$(BIN)/python -m pytest $(PYTEST)

lint: $(VENV)/installed-tests  ## ruff, yamllint, ansible-lint (with the syntax check of every playbook)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/yamllint --strict .
	PATH="$(CURDIR)/$(BIN):$$PATH" ANSIBLE_COLLECTIONS_PATH="$$(bash tests/install-services.sh ansible-collections)" \
		$(BIN)/ansible-lint -q --offline

types: types-linux types-win32  ## mypy --strict, as on Linux and as on Windows

# a cache each: what mypy keeps is of one platform
types-linux types-win32: types-%: $(VENV)/installed-tests
	$(BIN)/mypy --platform $* --cache-dir .mypy_cache/$*

bench: $(VENV)/installed-tests  ## measure, beside ras-commander, xargs, Dask and Slurm; writes docs/benchmarks.md
	$(BIN)/python tests/bench/run.py

simulate: $(VENV)/installed-tests  ## a million plans on a virtual clock; writes docs/simulation.md (a few minutes)
	$(BIN)/python tests/simulate/run.py

clean:  ## remove what make made
	rm -rf $(VENV) demo .bench .mypy_cache .ruff_cache .pytest_cache .hypothesis
