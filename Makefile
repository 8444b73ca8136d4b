# Everything a newcomer needs; `make` alone lists it.
.DEFAULT_GOAL := help
.PHONY: help env report lab test lint unit nbval simulate notebooks lock clean

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := $(shell command -v uv 2>/dev/null || echo $(VENV)/bin/uv)
LOCK ?= requirements.lock
DATASET ?= demo
export OMP_NUM_THREADS ?= 1

help:  ## list what there is
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/' | expand -t 18

env: $(VENV)/.$(LOCK).done  ## make the environment in .venv

$(VENV)/.$(LOCK).done: $(LOCK) pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@command -v uv >/dev/null 2>&1 || $(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(UV) pip install --python $(BIN)/python --require-hashes --compile-bytecode -r $(LOCK)
	$(UV) pip install --python $(BIN)/python --no-deps --editable .
	$(BIN)/python -m compileall -q cjlib
	@rm -f $(VENV)/.*.done
	@touch $@

report: env  ## run every notebook on the demo (DATASET=name for another)
	$(BIN)/cj report $(DATASET)

lab: env  ## open JupyterLab in notebooks/
	$(BIN)/jupyter lab --notebook-dir=notebooks

test: env lint unit nbval  ## lint, unit tests, notebooks against their committed outputs

lint: env
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

unit: env
	$(BIN)/python -m pytest -n 2 --dist worksteal

nbval: env
	$(BIN)/python -m pytest --nbval --nbval-sanitize-with tests/nbval_sanitize.cfg notebooks -p no:cacheprovider

simulate: env  ## count findings in worlds where nothing, or something, is planted (hours)
	$(BIN)/python -m tests.simulations

notebooks: env  ## run the notebooks in place on the demo, to commit their outputs
	$(BIN)/jupyter execute --inplace notebooks/*.ipynb

lock: env  ## renew requirements.lock and requirements-spark.lock from pyproject.toml
	$(UV) pip compile -q pyproject.toml --extra test --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header -o requirements.lock
	$(UV) pip compile -q pyproject.toml --extra test --extra spark -c requirements.lock --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header -o requirements-spark.lock

clean:  ## remove the environment, prepared logs and reports
	rm -rf $(VENV) data/prepared reports/*/
