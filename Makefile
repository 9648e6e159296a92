# GNU make. `make` alone lists what there is to do; every target first ensures the environment in .venv.

BIN := .venv/bin
PYTHON_BIN := $(BIN)/python
UV := scripts/uv.sh
BOOTSTRAPPED := .venv/.bootstrapped
INSTALLED := .venv/.installed

STACK ?= embedded
LOCK_OPTIONS ?=
# Components that a reset of a demo leaves alone; any value but an empty one, 0 or false.
KEPT = $(foreach one,METRICS KAFKA ICEBERG,$(if $(filter-out 0 false,$(KEEP_$(one))),--keep-$(shell echo $(one) | tr A-Z a-z)))

# The caller's own Python settings must not leak into the project's environment.
unexport PYTHONPATH PYTHONHOME PYTHONDONTWRITEBYTECODE VIRTUAL_ENV CONDA_PREFIX

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup test test-quick test-servers lint up down demo-reset demo-reset-dry-run demo-reset-force demo-reset-custom readiness coverage bench lock clean distclean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-20s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

setup: $(INSTALLED) ## create .venv from the locked requirements (PYTHON=... names the interpreter)

test: setup ## lint, unit tests, clauses, real servers in containers, chaos; stops at the first failure
	@$(PYTHON_BIN) scripts/check.py

test-quick: setup ## without servers: lint, unit tests, a short conformance run
	@$(PYTHON_BIN) scripts/check.py lint unit smoke

test-servers: setup ## only what needs servers: tests in containers, with the engine and images they need, and chaos
	@$(PYTHON_BIN) scripts/check.py containers chaos

lint: setup ## ruff, import arrows, mypy
	@$(PYTHON_BIN) scripts/check.py lint

up: setup ## the whole platform on real servers in containers, see docs/containers.md
	@$(PYTHON_BIN) -m conformance.stacks.containers up

down: setup ## stop what `make up` started; its data stays
	@$(PYTHON_BIN) -m conformance.stacks.containers down

demo-reset: setup ## throw away the data of a demo (DEMO=true make up), after asking
	@$(PYTHON_BIN) -m conformance.stacks.containers reset

demo-reset-dry-run: setup ## only say what demo-reset would remove
	@$(PYTHON_BIN) -m conformance.stacks.containers reset --dry-run $(KEPT)

demo-reset-force: setup ## throw it away without asking
	@$(PYTHON_BIN) -m conformance.stacks.containers reset --force $(KEPT)

demo-reset-custom: setup ## keep some of it: KEEP_METRICS=1 KEEP_KAFKA=1 KEEP_ICEBERG=1
	@$(PYTHON_BIN) -m conformance.stacks.containers reset $(KEPT)

readiness: setup ## run the suite and write the readiness card (STACK=embedded)
	@$(PYTHON_BIN) -m conformance readiness --stack $(STACK)

coverage: setup ## unit tests with the lines of k2 they miss; HTML in build/coverage/html
	@$(PYTHON_BIN) -m pytest -n auto --cov --cov-report=term --cov-report=html

bench: setup ## every measurement in benchmarks/, one after the other (BENCH=name ... only these)
	@$(PYTHON_BIN) -m benchmarks $(BENCH)

# Runtime and bootstrap are constrained by the development lock, so that all three agree on every version.
COMPILE = $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	--custom-compile-command 'make lock' $(LOCK_OPTIONS)
lock: $(BOOTSTRAPPED) ## write requirements/*.txt anew (LOCK_OPTIONS=--upgrade for newer versions)
	$(COMPILE) --group dev pyproject.toml --output-file requirements/dev.txt
	$(COMPILE) --constraints requirements/dev.txt pyproject.toml --output-file requirements/runtime.txt
	printf '%s\n' duckdb==1.5.5 duckdb-extension-avro==1.5.5 duckdb-extension-iceberg==1.5.5 | \
		$(COMPILE) - --output-file requirements/independent-reader.txt
	echo uv | $(COMPILE) --constraints requirements/dev.txt - --output-file requirements/bootstrap.txt

clean: ## remove caches and build products; the environment and the evidence of runs stay
	rm -rf build *.egg-info .coverage .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -path ./.venv -prune -o -path ./.tox -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean ## back to a fresh checkout: environments and the evidence of runs go too
	rm -rf .venv .tox reports/runs

$(BOOTSTRAPPED): requirements/bootstrap.txt scripts/create_environment.sh
	@scripts/create_environment.sh .venv
	@$(PYTHON_BIN) -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: \
		--requirement requirements/bootstrap.txt
	@touch $@

# Editable, without build isolation and without dependencies: nothing is fetched but what the lock names.
$(INSTALLED): $(BOOTSTRAPPED) requirements/dev.txt pyproject.toml
	@echo 'setup: installing the locked requirements into .venv'
	@$(UV) pip sync --quiet --compile-bytecode --require-hashes --python $(PYTHON_BIN) requirements/dev.txt
	@$(UV) pip install --quiet --python $(PYTHON_BIN) --no-deps --no-build-isolation --editable .
	@touch $@
