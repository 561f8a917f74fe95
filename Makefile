# Four commands are the whole workflow: demo, test, lint, format. Each makes what it needs; a second run starts at once.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check --quiet
# One thread for each worker: threads that wait for one another make small networks slower.
TESTS  := OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses logical --maxprocesses 8 --dist loadfile
ROOMS  := data_contracts domain_models pipelines review_app deploy

export NO_ALBUMENTATIONS_UPDATE := 1

.PHONY: help install demo demo-quick screenshots browser test test-slow test-data bench-accuracy bench-speed lint format clean

help:            ## what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/' | expand -t 18

$(BIN)/python:
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if v >= (3, 11) else "Tailsight needs Python 3.11 or newer; this is %d.%d. Name another with PYTHON=python3.11" % v[:2])'
	@echo "Making a virtual environment in $(VENV) ..."
	@$(PYTHON) -m venv $(VENV)

# torch first and pinned: any other order may bring a build for another accelerator.
$(VENV)/.installed: $(BIN)/python pyproject.toml constraints.txt
	@echo "Installing the pinned dependencies (a few minutes, once) ..."
	@$(PIP) install --constraint constraints.txt torch==2.13.0
	@$(PIP) install --constraint constraints.txt --editable '.[demo]'
	@touch $@

$(VENV)/.installed-for-tests: $(VENV)/.installed
	@echo "Installing what the tests need ..."
	@$(PIP) install --constraint constraints.txt --editable '.[demo,dev]'
	@touch $@

install: $(VENV)/.installed  ## the command line, ready in .venv/bin/tailsight

demo: install    ## the whole loop on real solar-cell images, in demo-workspace
	@$(BIN)/tailsight --workspace demo-workspace demo

demo-quick: install  ## the same in about two minutes, in demo-workspace-quick
	@$(BIN)/tailsight --workspace demo-workspace-quick demo --quick

demo-workspace-quick/demo/last-batch.json:
	@$(MAKE) demo-quick

screenshots: browser demo-workspace-quick/demo/last-batch.json  ## the README's pictures, taken of the running app
	@$(BIN)/python -m tests.screenshots.take_screenshots --workspace demo-workspace-quick

lint: $(VENV)/.installed-for-tests  ## ruff, mypy --strict, import-linter
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy $(ROOMS:%=-p %)
	@$(BIN)/lint-imports --no-logo

browser: $(VENV)/.installed-for-tests  ## what the tests of the review app drive: Debian's chromium, else Playwright's
	@test -x /usr/bin/chromium \
	  || { test "$$(id -u)" = 0 && command -v apt-get >/dev/null && apt-get update -qq && apt-get install -y -qq chromium; } \
	  || $(BIN)/playwright install chromium

test: lint browser  ## lint, then the test suite
	@$(TESTS) -m "not slow"

test-slow: $(VENV)/.installed-for-tests  ## the tests that take minutes
	@$(TESTS) -m slow -n 0

test-data: $(VENV)/.installed-for-tests  ## the tests on the benchmark data sets
	@$(TESTS) -m data

SETS ?= elpv infrared ham10000 x-sdd
SEEDS ?= 3
PRESET ?= standard
bench-accuracy: $(VENV)/.installed-for-tests  ## presets and methods against a plain fine-tune (SETS=, SEEDS=, PRESET=); goes on after a kill
	@$(BIN)/python tests/benchmarks/measure_accuracy.py $(SETS) --seeds $(SEEDS) --preset $(PRESET)
	@$(BIN)/python tests/benchmarks/write_results.py

bench-speed: $(VENV)/.installed-for-tests demo  ## scoring, serving, training and smaller models against what one would otherwise write
	@$(BIN)/python tests/benchmarks/measure_scoring.py --workspace demo-workspace
	@$(BIN)/python tests/benchmarks/measure_small_batch.py --workspace demo-workspace
	@$(BIN)/python tests/benchmarks/measure_serving.py
	@$(BIN)/python tests/benchmarks/measure_training.py
	@$(BIN)/python tests/benchmarks/measure_compression.py $(filter x-sdd elpv,$(SETS)) --epochs 15 --compress-epochs 8 --minutes 9
	@$(BIN)/python tests/benchmarks/write_results.py

format: $(VENV)/.installed-for-tests     ## put the code into its one layout
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

clean:           ## remove the virtual environment and the demo's workspaces
	rm -rf $(VENV) demo-workspace demo-workspace-quick
