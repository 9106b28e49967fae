# Six targets a newcomer guesses; `make help` tells them. Everything is set up on the way.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

export PATH := $(CURDIR)/$(BIN):$(PATH)
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup demo up test test-unit lint bench bench-pit bench-lookup bench-trees bench-reliability bench-index bench-encoders bench-serve bench-training bench-warm bench-gowalla bench-scale bench-globo clean

help:  ## tell what each target does
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY)  ## environment from the hashed lock file, bytecode compiled

$(READY): requirements.lock bootstrap-requirements.txt pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "tastemaker needs Python 3.11; name it with PYTHON=/path/to/python3.11" >&2; exit 1; }
	@echo "Setting up $(VENV) from requirements.lock (about 2.8 GB, once)"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r bootstrap-requirements.txt
	$(BIN)/uv pip sync --quiet --python $(BIN)/python --require-hashes --compile-bytecode requirements.lock bootstrap-requirements.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

demo: $(READY)  ## the main job once: a real shop's log to ranked products over gRPC
	@$(BIN)/tastemaker demo

up: $(READY)  ## Airflow, model server and feature server until Ctrl-C
	@exec $(BIN)/tastemaker up

lint: $(READY)  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# In the order of folders, so that e2e, its three longest files, come first and no core waits for them at the end.
test: $(READY)  ## the whole suite, on two cores
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder

test-unit: $(READY)  ## the fast part of the suite
	$(BIN)/pytest -m "not integration and not e2e"

bench: $(READY)  ## time the main job and one recommend; result in benchmarks/results/
	$(BIN)/python -m benchmarks.main_job --date $$(date -u +%F)

bench-pit: $(READY)  ## the point-in-time join beside Feast's own store
	$(BIN)/python -W ignore -m benchmarks.point_in_time --date $$(date -u +%F) | tee benchmarks/results/point_in_time.json

bench-lookup: $(READY)  ## lookups on SQLite and Redis beside Feast's own
	$(BIN)/python -W ignore -m benchmarks.lookup --date $$(date -u +%F) | tee benchmarks/results/lookup.json

bench-serve: $(READY)  ## what serves beside the obvious way, LightGBM and NumPy; build and load by size
	$(BIN)/python -W ignore -m benchmarks.serve --date $$(date -u +%F) --out benchmarks/results/serve.json

bench-trees: $(READY)  ## the compiled forest beside LightGBM and a traversal
	$(BIN)/python -m benchmarks.trees

bench-index: $(READY)  ## a million items: the inverted file beside every item asked, NumPy and hnswlib
	$(BIN)/python -W ignore -m benchmarks.item_index --date $$(date -u +%F) --out benchmarks/results/item_index.json

bench-reliability: $(READY)  ## the model server in trouble: ten times the load, 200 swaps, a hang
	$(BIN)/python -W ignore -m benchmarks.reliability --date $$(date -u +%F)

bench-training: $(READY)  ## loop beside TFRS's, trees beside LightGBM's, on a TASTEMAKER_HOME with models; SEEDS=3
	$(BIN)/python -W ignore -m benchmarks.training_speed --date $$(date -u +%F) $(if $(SEEDS),--seeds $(SEEDS)) --out benchmarks/results/training_speed.json

bench-warm: $(READY)  ## seven days of warm starts beside cold ones, on a TASTEMAKER_HOME with features
	$(BIN)/python -W ignore -m benchmarks.warm_start --date $$(date -u +%F)

bench-gowalla: $(READY)  ## the two towers on Gowalla beside published models; GOWALLA=folder of its files
	$(BIN)/python -W ignore -m benchmarks.gowalla --data $(GOWALLA) --date $$(date -u +%F)
	$(BIN)/python -W ignore -m benchmarks.gowalla.rivals --data $(GOWALLA) --date $$(date -u +%F)

bench-scale: $(READY)  ## G1's three million clicks through the whole platform, hour by hour; GLOBO=a new home, CLICKS=the file
	$(BIN)/python -m benchmarks.scale_run --home $(GLOBO) --clicks $(CLICKS) --date $$(date -u +%F)

bench-globo: $(READY)  ## G1's news hour by hour beside published models, five seeds; GLOBO=home that was built at hourly grain
	$(BIN)/python -W ignore -m benchmarks.walk_forward --home $(GLOBO) --half reported --seeds 1 2 3 4 5 --date $$(date -u +%F)
	$(BIN)/python -W ignore -m benchmarks.walk_forward.rival --home $(GLOBO) --half reported --seeds 1 2 3 --date $$(date -u +%F)

bench-encoders: $(READY)  ## every encoder of a history, three seeds each, on the training sets in TASTEMAKER_HOME
	$(BIN)/python -W ignore -m benchmarks.encoders --date $$(date -u +%F)

clean:  ## remove the environment and everything runs have made
	rm -rf $(VENV) var .pytest_cache .mypy_cache .ruff_cache .hypothesis
