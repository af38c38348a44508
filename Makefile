# Everything here works on a fresh machine with Python (3.11 or newer) and make.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: help setup demo test test-fast lint docs package bench bench-full soak endurance mutate results clean
.DEFAULT_GOAL := help

help:  ## Show the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(READY)  ## Make .venv with bioseg and all that its tests need

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: $(READY)  ## Generated images to a trained, measured model with pictures, in a few minutes
	PATH="$(abspath $(BIN)):$$PATH" examples/demo.sh demo

test: $(READY)  ## Run the tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --maxprocesses 8 --dist loadfile --durations=10

test-fast: $(READY)  ## Run the tests that train little, start no processes and run few whole commands
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --maxprocesses 8 --dist loadfile -m "not slow"

lint: $(READY)  ## Check style, types and the direction of imports
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(READY)  ## Build the documentation into site/, with every link checked
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[docs]'
	$(BIN)/mkdocs build --strict

package: $(READY)  ## Build wheel and source distribution into dist/, and try them in an environment of their own
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[package]'
	.ci/package $(BIN)/python

bench: $(READY)  ## Benchmarks at small sizes, a few minutes
	-$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[bench]'
	$(BIN)/python -m benchmarks

bench-full: $(READY)  ## The benchmarks behind benchmarks/RESULTS.md
	-$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[bench]'
	$(BIN)/python -m benchmarks --full

soak: $(READY)  ## Kill commands 200 times and compare what they wrote; read thousands of damaged and hostile files
	$(BIN)/python -m benchmarks.soak
	$(BIN)/python -m benchmarks.fuzz

endurance: $(READY)  ## Train, predict and evaluate in one process for an hour, and see whether anything grows
	$(BIN)/python -m benchmarks.endurance

mutate: $(READY)  ## Break the code in thousands of ways and count what no test notices; MUTATE="--package metrics"
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[mutate]'
	$(BIN)/python -m benchmarks.mutation $(MUTATE)

results: $(READY)  ## The figures of docs/results.md; BIOSEG_DATA names the folder that holds BBBC039
	PATH="$(abspath $(BIN)):$$PATH" benchmarks/results_bbbc039.sh

clean:  ## Remove what the targets above made, but no data and no runs
	rm -rf $(VENV) demo .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist site *.egg-info
