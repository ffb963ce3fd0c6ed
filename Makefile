# Needs Python 3.11+ and a package index; everything else goes into .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PAPERS_HERE := $(wildcard plugins/*/pyproject.toml)
PLUGINS := $(PAPERS_HERE) $(wildcard examples/*/pyproject.toml)
FOR_USE := $(VENV)/.for-use
STAMP := $(VENV)/.installed
PIP := PYTHONWARNINGS='ignore:Editable installation' $(BIN)/python -m pip install --quiet --no-build-isolation --constraint constraints.txt
FAULTS = $(shell grep -rl pytest.mark.fault tests plugins --include=test_*.py)# looking for them in all files takes longer
FOLLOWED = $(foreach e,$(wildcard examples/*/tests/test_laws.py),--deselect $(e)::test_it_keeps_the_contract)# checked where their pages are
RECIPE ?= conf/scorecard.txt
export OMP_NUM_THREADS ?= 1
export TOKENIZERS_PARALLELISM ?= false
export PYTHONDONTWRITEBYTECODE :=# the tests start a thousand processes: they read our modules compiled

.PHONY: demo install dev test test-all oracle engines ray lint pages docs scorecard bench gpu-check bench-verdict forgeries torture lock dist clean

demo: $(FOR_USE)  ## a verdict on a published claim, on real text, after two minutes; four methods compared in four
	$(BIN)/harness run -m +experiment=quickstart method=alibi/alibi,alibi/sinusoidal
	$(BIN)/harness report alibi --claim 1
	$(BIN)/harness run -m +experiment=quickstart
	$(BIN)/harness report alibi

install: $(FOR_USE)  ## the harness and its eight papers, as users have them

dev: $(STAMP)  ## and what tests, lint, documentation and benchmarks need

$(FOR_USE): pyproject.toml $(PAPERS_HERE) | $(BIN)/pip
	$(PIP) --editable . $(foreach p,$(PAPERS_HERE),--editable $(dir $(p)))
	touch $@

$(STAMP): pyproject.toml constraints.txt $(PLUGINS) | $(BIN)/pip
	$(PIP) --editable ".[dev]" $(foreach p,$(PLUGINS),--editable $(dir $(p)))
	touch $@ $(FOR_USE)

$(BIN)/pip:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip "setuptools>=77"  # builds the packages here: one of its own for each takes longer

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy harness tests/stranger/harness_mixup $(foreach p,$(PLUGINS),$(wildcard $(dir $(p))harness_*))

test: lint  ## lint, types and the quick tests
	$(BIN)/python -m pytest -m "not slow and not fault and not install and not oracle" -n 2 --dist loadgroup

oracle: $(STAMP)  ## every model family and setting beside peft and sentence-transformers, whole sets of problems: ten minutes
	$(BIN)/python -m pytest -m oracle -n 2

engines: $(STAMP)  ## llama.cpp's server beside transformers, where HARNESS_LLAMA_PYTHON has llama-cpp-python[server]
	$(BIN)/python -m pytest -m oracle -n 0 -rs tests/engines

ray: $(STAMP)  ## sweeps on a Ray cluster of two nodes on this machine, one of them killed: six minutes if it is busy
	$(PIP) --editable ".[ray]"
	$(BIN)/python -m pytest -n 0 -rs tests/faults/test_ray.py

test-all: lint  ## also slow, fault and fresh-install tests
	$(BIN)/python -m pytest -m "(slow or install) and not fault and not oracle" -n 2 --dist loadgroup $(FOLLOWED)
	$(BIN)/python -m pytest -m fault -n 4 --dist loadfile --no-loadscope-reorder $(FAULTS)

pages: $(STAMP)  ## the parts of docs/*.md that come from the code: reference, hooks, the picture of the rooms
	$(BIN)/python docs/written.py

docs: $(STAMP)  ## the documentation site, into build/site; warnings are errors (make test-all builds it too)
	$(BIN)/mkdocs build --strict

scorecard: $(STAMP)  ## run the recipe on real data and write the tracked scorecard; goes on where it was stopped; PAPERS="alibi lora" for these alone
	@test -n "$(HARNESS_DATA)" || { echo "make scorecard needs real data: set HARNESS_DATA to its folder"; exit 2; }
	@for paper in $(PAPERS); do test -d plugins/$$paper || { echo "PAPERS=$$paper: no such paper in plugins/"; exit 2; }; done
	grep -v '^#' $(RECIPE) | while read -r line; do \
	  paper=$$(echo "$$line" | sed -E 's/.*[+]experiment=([a-z]+).*/\1/; s/ .*//'); \
	  case " $(or $(PAPERS),$$paper) " in *" $$paper "*) eval "$(BIN)/harness $$line" < /dev/null || { \
	    test $$? = 1 || exit 1; echo "a run failed, and the card will say which" >&2; };; esac; done
	$(BIN)/python -m harness.reports.publish results/scorecard-runs $(PAPERS)

bench: $(STAMP)  ## side by side with what one would use instead: its rows have an hour of two cores
	$(BIN)/python benchmarks/run.py

gpu-check: $(STAMP)  ## what only a GPU can answer, in ten minutes, into results/gpu-check.json; goes on where it stopped
	$(BIN)/python -m benchmarks.gpu_check

bench-verdict: $(STAMP)  ## how often the verdict rule and the referee are right, by simulation (into docs/): three minutes
	$(BIN)/python -m benchmarks.verdict --write
	$(BIN)/python -m benchmarks.referee --write

forgeries: $(STAMP)  ## forged bundles and how many of them harness verify sees (into docs/bundle.md): ten minutes
	$(BIN)/python -m benchmarks.forgeries --write

torture: $(STAMP)  ## 250 random kills of sweeps, 50 amid real training; goes on where it was stopped (hours)
	$(BIN)/python -m benchmarks.torture

lock: $(STAMP)  ## requirements.lock: every package with its hashes, for a release
	$(BIN)/python .ci/lock.py

dist: $(STAMP)  ## sdists and wheels of the core and its papers, looked at, installed in a clean environment, the demo run
	$(BIN)/python .ci/dist.py

clean:
	rm -rf $(VENV) build dist
