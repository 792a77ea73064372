# `make help` lists what there is. Everything is made in .venv and .cache, beside this file.

PYTHON ?= python3
BIN := .venv/bin
# A test run starts hundreds of processes, and none of them should compile our code anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help test chaos check check-types check-imports check-docs format demo demo-redis examples bench docs test-matrix \
	clean

help:
	@echo 'make test         install what is missing, and run all tests'
	@echo 'make chaos        the chaos tests in their full size (some 12 minutes)'
	@echo 'make check        format, lint, import rules, types, documentation'
	@echo 'make format       put the code into the one format'
	@echo 'make demo         the prog rock demo, in one process (http://127.0.0.1:8000)'
	@echo 'make demo-redis   the same as three processes on a Redis of their own'
	@echo 'make examples     list the examples; EXAMPLE=background_tasks starts one, OPTIONS=--help tells its options'
	@echo 'make bench        the benchmarks, next to bare limits and peers; about 15 minutes'
	@echo 'make docs         read the documentation (http://127.0.0.1:8001)'
	@echo 'make test-matrix  the tests on every Python and Django that can be had here'
	@echo 'make clean        remove what was made'
	@echo
	@echo 'PYTHON=python3.12 make ...  uses another Python (3.11 or later); TESTS="-k redis" chooses tests,'
	@echo 'BENCH="--quick lateness" benchmarks'

test: .venv/.dev
	scripts/setup.sh servers
	$(if $(TESTS),$(BIN)/python -m pytest $(TESTS),$(ALL_TESTS))

# Where time is the subject, the tests have the machine to themselves. The others run two at a time, those of processes
# that must keep to a second too; and those that mostly wait, for leases, for processes, and for servers that went away,
# three at a time.
ALONE := tests/chaos tests/examples tests/process
EXAMPLES := $(filter-out tests/examples/test_progrock.py,$(wildcard tests/examples/test_*.py))
WAITING := $(EXAMPLES) $(wildcard tests/chaos/test_killed.py tests/chaos/test_stopped.py tests/chaos/test_pollers_*.py \
	tests/chaos/test_redis_trouble.py tests/chaos/test_schedules_*.py tests/chaos/test_workers_*.py \
	tests/layers/test_encryption.py \
	tests/offload/test_processes.py tests/process/test_checks.py tests/process/test_connections.py \
	tests/process/test_delivered_once.py tests/process/test_hosts.py tests/process/test_supervising.py \
	tests/process/test_trouble.py tests/process/progress/test_browser.py $(filter-out %/test_ending.py,$(wildcard tests/process/working/test_*.py)))
PROMPT := $(wildcard tests/process/test_command.py tests/process/test_schedules*.py tests/process/working/test_ending.py)
TWO_AT_A_TIME := $(filter-out $(ALONE) tests/support tests/__pycache__,$(patsubst %/,%,$(wildcard tests/*/))) $(PROMPT)
MANY = --dist loadfile --no-loadscope-reorder
ALL_TESTS = $(BIN)/python -m pytest -n 2 $(MANY) $(TWO_AT_A_TIME) $(WAITING:%=--ignore=%) && \
	$(BIN)/python -m pytest -n 3 $(MANY) $(WAITING) && \
	$(BIN)/python -m pytest $(ALONE) $(patsubst %,--ignore=%,$(PROMPT) $(WAITING))

chaos: .venv/.dev
	scripts/setup.sh servers
	DELAYSERVER_CHAOS=full $(BIN)/python -m pytest tests/chaos $(TESTS)

check: .venv/.dev
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(MAKE) --jobs 2 --output-sync check-types check-imports check-docs

check-types: .venv/.dev
	$(BIN)/mypy

check-imports: .venv/.dev
	$(BIN)/lint-imports

check-docs: .venv/.dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --site-dir .cache/site

format: .venv/.dev
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

demo: .venv/.demo
	$(BIN)/python examples/progrock/serve.py

demo-redis: .venv/.demo
	$(BIN)/python examples/progrock/serve.py --redis

# One of the examples needs Celery, too.
examples: .venv/.demo $(if $(filter task_status,$(EXAMPLE)),.venv/.celery)
	$(BIN)/python -m examples $(EXAMPLE) $(OPTIONS)

bench: .venv/.dev .venv/.bench .cache/bullmq/.installed
	scripts/setup.sh servers
	$(BIN)/python -m benchmarks $(BENCH)

docs: .venv/.dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs serve --dev-addr 127.0.0.1:8001

test-matrix: .venv/.dev
	scripts/setup.sh servers
	scripts/test_matrix.sh $(BIN)/python

clean:
	rm -rf .venv .venv-* .cache build dist *.egg-info
	rm -rf .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .coverage
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# One environment; the examples need little of it, and nothing that is compiled.
$(BIN)/python:
	scripts/setup.sh venv $(PYTHON)
	$(PYTHON) -m venv .venv

.venv/.demo: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[demo]'
	@touch $@

.venv/.celery: pyproject.toml | .venv/.demo
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[demo,celery]'
	@touch $@

.venv/.dev: pyproject.toml | $(BIN)/python
	scripts/setup.sh build $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@ .venv/.demo .venv/.celery

# What the benchmarks are measured against, and what draws the plots; nothing else needs it.
.venv/.bench: pyproject.toml | .venv/.dev
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[bench]'
	@touch $@

# One of the peers is of another world. Where that is not there, its figures are left out, and the table says so.
.cache/bullmq/.installed: benchmarks/bullmq/package.json
	@mkdir -p $(@D)
	@cp $< $(@D)
	@if command -v node >/dev/null && command -v npm >/dev/null; then \
		npm install --prefix $(@D) --no-package-lock --ignore-scripts --no-audit --no-fund --loglevel error && touch $@ || \
		echo 'BullMQ could not be installed, so its figures are left out.'; \
	else echo 'BullMQ needs node and npm, so its figures are left out.'; fi
