# lakescore: `make` lists what there is to do. Everything sets itself up first, once.

SHELL := /bin/sh
.DEFAULT_GOAL := help

VENV   := .venv
BIN    := $(VENV)/bin
COMPAT := .venv-compat
DEEP   := .venv-deep
# uv as set-up installs it, pinned by hash.
UV     := $(VENV)/tools/bin/uv
LOCK    = $(UV) pip compile --quiet --universal --python-version 3.10 --generate-hashes \
          --no-emit-index-url --no-header --no-annotate
# Whole files of tests go to each process, which has a Spark session of its own.
TEST_PROCESSES ?= 2
# What the suites of faults counted; FAULTS_PAGE=docs/reliability.md writes it there.
FAULTS = .cache/faults
EXTRAS := --extra local --extra demo --extra train --extra synapse --extra dev
DEEP_EXTRAS := --extra local --extra demo --extra train --extra dev --extra deep

export PYTHON

.PHONY: help setup setup-compat setup-deep horovod demo test test-fast test-compat test-deep test-faults test-slow test-mutations lint format package docs lock bench bench-smoke bench-flights clean clean-lake

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## Everything a fresh machine needs: .venv from the lock, Java if there is none, Spark's jars
	@sh scripts/setup.sh dev

setup-compat: ## The oldest supported stack in .venv-compat (needs Python 3.10)
	@PYTHON=$(COMPAT_PYTHON) sh scripts/setup.sh compat

setup-deep: ## PyTorch and ONNX in .venv-deep (5 GB)
	@sh scripts/setup.sh deep

horovod: setup-deep ## Build Horovod's wheel for that PyTorch, once, and install it in .venv-deep
	@$(DEEP)/bin/python scripts/horovod.py

demo: setup ## Set up, then the main job on real data: ingest, train, promote, score, report
	@$(BIN)/lakescore demo

test: setup lint ## Set up, then lint, types, layers and every test but the long ones
	@$(BIN)/python -m pytest -m "not slow" -n $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder

test-fast: setup ## The tests of the code alone: no Spark, no browser, within a minute
	@$(BIN)/python -m pytest -q tests/unit tests/contract -m "not spark and not browser and not slow"

test-compat: ## The small suite on Spark 3.3, Delta 2.3, pandas 1.5 and Python 3.10
	@PYTHON=$(COMPAT_PYTHON) sh scripts/setup.sh compat; code=$$?; \
	if [ $$code -eq 3 ] && [ -z "$$CI" ]; then echo "test-compat skipped: see the line above"; exit 0; fi; \
	[ $$code -eq 0 ] && $(COMPAT)/bin/python -m pytest -n $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder tests/compat

test-faults: setup ## Random stories, real kills, twins, a failing environment (LAKESCORE_STORIES, _STEPS, _KILLS)
	@rm -rf $(FAULTS)
	@export LAKESCORE_STORIES=$${LAKESCORE_STORIES:-15} LAKESCORE_STEPS=$${LAKESCORE_STEPS:-27} \
	LAKESCORE_FAULTS_OUT=$(FAULTS) LAKESCORE_TEST_MEMORY=3g; \
	$(BIN)/python -m pytest -n $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder tests/faults; code=$$?; \
	$(BIN)/python -m tests.faults.tally $(FAULTS) $(FAULTS_PAGE) && exit $$code

test-slow: setup ## The long tests of the other suites: the whole demo at 1 GiB, spark-submit, Hive
	@$(BIN)/python -m pytest -n $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder -m slow tests/integration tests/e2e

test-deep: horovod ## Nets: one process, TorchDistributor, Horovod; kills, stalls, resume, ONNX
	@$(DEEP)/bin/python -m pytest tests/deep

test-mutations: setup ## Each rule of the commit protocol left out once: a test must fail every time
	@$(BIN)/python -m tests.faults.mutations

lint: setup ## Style (ruff), types (mypy, strict) and layers (import-linter)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: setup ## Rewrite the code in the project's style
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

package: setup ## Build the wheel into dist/ and check that it carries conf/
	@rm -rf dist
	@$(BIN)/python -m build --wheel --no-isolation --outdir dist .
	@$(BIN)/python scripts/check_wheel.py dist

docs: setup ## Write the reference pages from the code
	@$(BIN)/python scripts/reference.py

lock: setup ## Resolve the locks anew: packages (with hashes and markers) and jars
	@$(LOCK) requirements/uv.in -o requirements/uv.txt
	@$(LOCK) pyproject.toml -c requirements/constraints.in $(EXTRAS) -o requirements/dev.txt
	@$(LOCK) pyproject.toml requirements/compat.in -o requirements/compat.txt
	@$(LOCK) pyproject.toml requirements/deep.in -c requirements/constraints.in $(DEEP_EXTRAS) -o requirements/deep.txt
	@$(BIN)/python scripts/lock_jars.py

bench: setup ## Scoring beside its peers, 1M to 16M rows: an hour and more on an idle machine (BENCH=options)
	@$(BIN)/python -m benchmarks.scoring.bench $(BENCH)

bench-smoke: setup ## The same over 1M rows, once: the ratios in a few minutes
	@$(BIN)/python -m benchmarks.scoring.bench --smoke --folder .cache/bench-smoke $(BENCH)

bench-flights: setup ## The single-node script beside the demo's champion (after make demo) by paired bootstrap
	@$(BIN)/python benchmarks/champion_scores.py .cache/champion.csv
	@$(BIN)/python benchmarks/single_node_flights.py --against .cache/champion.csv

clean: ## Remove what the targets made but the lake; the jar cache stays too
	@rm -rf $(VENV) $(COMPAT) $(DEEP) .cache dist build spark-warehouse metastore_db derby.log
	@rm -rf .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .databricks

clean-lake: ## Remove ./lake whole: the demo's tables, models and reports, and your own if they are there
	@rm -rf lake
