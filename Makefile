# The commands of the house. `make` alone lists them.

PYTHON ?= python3
ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
RUN_STAMP := $(VENV)/.installed-run
DEV_STAMP := $(VENV)/.installed-dev
FUZZ_STAMP := $(VENV)/.installed-fuzz
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
COMPILE := $(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes \
	--custom-compile-command "make lock" $(ARGS)

.DEFAULT_GOAL := help
.PHONY: run install test chaos fuzz lint bench docs lock fmt help

run: $(RUN_STAMP) ## Start the server on http://127.0.0.1:4000 (ARGS="--port 4100")
	@exec $(BIN)/tidings serve $(ARGS)

install: $(RUN_STAMP) ## Make .venv with the pinned packages and the tidings command
	@echo "$(BIN)/tidings is ready"

test: $(DEV_STAMP) ## Install what the tests need and run all of them (ARGS="-k position")
	@$(BIN)/python -m scripts.test_environment
	@$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(ARGS)

chaos: $(DEV_STAMP) ## Break nodes, workers, Redis and PostgreSQL again and again, and count what arrives
	@$(BIN)/python -m scripts.test_environment
	@TIDINGS_CHAOS=full $(BIN)/python -m pytest -m chaos $(ARGS)

fuzz: $(FUZZ_STAMP) ## Try made-up bytes on the protocols for five minutes (ARGS=-max_total_time=60)
	@mkdir -p var/fuzz/corpus
	@$(BIN)/python -m tests.fuzz.fuzz_wire var/fuzz/corpus tests/fuzz/corpus -dict=tests/fuzz/wire.dict \
		-artifact_prefix=var/fuzz/ -max_len=8192 -max_total_time=300 $(ARGS)

lint: $(DEV_STAMP) ## Check style, types and the measures of the house
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/python -m scripts.house_measures
	@$(BIN)/python -m scripts.import_rule
	@$(BIN)/python -m scripts.tenant_scope

bench: $(DEV_STAMP) ## Measure deliveries, connections and jobs on this machine
	@$(BIN)/python -m bench $(ARGS)

docs: $(RUN_STAMP) ## Write docs/settings.md from the code
	@$(BIN)/python -m scripts.settings_reference

lock: $(BIN)/uv ## Pin every package with its hashes in requirements/ (ARGS=--upgrade)
	$(COMPILE) --no-emit-package tidings --extra build pyproject.toml -o requirements/run.txt
	$(COMPILE) --extra build --extra song --extra s3 --extra otel --extra dev -c requirements/run.txt \
		pyproject.toml -o requirements/dev.txt
	echo 'atheris==3.0.0' | $(COMPILE) - -o requirements/fuzz.txt

fmt: $(DEV_STAMP) ## Format the code and mend what ruff can mend
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

# pip is the last thing a new environment gets: where it is missing, the making was not finished.
$(BIN)/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "Tidings needs Python >= 3.11; '$(PYTHON)' is $$($(PYTHON) --version 2>&1 || echo missing)." >&2; \
		echo "Name another one: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV)

$(RUN_STAMP): requirements/run.txt pyproject.toml | $(BIN)/pip
	@echo "Installing Tidings into $(VENV)"
	@$(PIP) install --require-hashes -r requirements/run.txt
	@$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

$(DEV_STAMP): requirements/dev.txt $(RUN_STAMP)
	@echo "Installing the tests' packages into $(VENV)"
	@$(PIP) install --require-hashes -r requirements/dev.txt
	@touch $@

$(FUZZ_STAMP): requirements/fuzz.txt $(RUN_STAMP)
	@echo "Installing the fuzzer into $(VENV)"
	@$(PIP) install --require-hashes -r requirements/fuzz.txt
	@touch $@

$(BIN)/uv: | $(BIN)/pip
	@$(PIP) install uv
