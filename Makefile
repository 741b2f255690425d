# Everything here needs make and Python >= 3.11; the rest is set up in $(VENV) by the first target.
PYTHON ?= python3
VENV ?= .venv
JOBS ?= 2

BIN := $(VENV)/bin
READY := $(VENV)/.ready
COMPILED := .compiled
REPORTS := reports
REPORT_ARGS ?= --duration 5
SCENARIOS := steady rate burst clients payload errors soak overload
NEW_ENOUGH := -c 'import sys; sys.exit(sys.version_info < (3, 11))'
PACKAGES := pipebus pipebus_anyio pipebus_asyncio pipebus_trio pipebus_cli

.PHONY: demo test check format lint walls types complete pytest coverage compiled bench report mutation docs clean
.DELETE_ON_ERROR:

demo: $(READY)
	$(BIN)/pipebus demo $(DEMO_ARGS)

# Checks (mypy beside pyright: each takes a quarter of a minute of one core), then every test with
# coverage. What pytest says comes last.
test:
	$(MAKE) --no-print-directory --jobs $(JOBS) check
	$(MAKE) --no-print-directory pytest

check: format lint walls types complete

format: $(READY)
	$(BIN)/ruff format --check

lint: $(READY)
	$(BIN)/ruff check

walls: $(READY)
	$(BIN)/lint-imports --no-logo pyproject.toml tests/walls/circles.toml
	$(BIN)/python tests/walls/core_rules.py

types: $(READY)
	$(BIN)/mypy

# Every public symbol has a complete type. --verifytypes asks the `python` of the PATH where to look.
complete: $(READY)
	@for package in $(PACKAGES); do \
		echo "$(BIN)/pyright --verifytypes $$package --ignoreexternal"; \
		PATH="$(abspath $(BIN)):$$PATH" $(BIN)/pyright --verifytypes $$package --ignoreexternal \
			> $(VENV)/verifytypes.txt 2>&1 || { cat $(VENV)/verifytypes.txt; exit 1; }; \
		grep 'Type completeness score' $(VENV)/verifytypes.txt; \
	done

# --dist loadfile: what a module's tests share is set up once. They are handed out in the order that
# tests/conftest.py gives them, so that no worker is left with something long at the end.
pytest: $(READY)
	$(BIN)/python -m coverage erase
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder --cov --cov-report= $(PYTEST_ARGS)
	$(MAKE) --no-print-directory coverage

# Quiet while it holds, so that pytest's summary stays the last thing of `make test`.
coverage: $(READY)
	@echo "coverage with branches, core (100 %):"; \
	$(BIN)/coverage report --include='core/*' --format=total --fail-under=100 || { \
		$(BIN)/coverage report --include='core/*'; exit 1; }
	@echo "coverage with branches, bindings (at least 95 %):"; \
	$(BIN)/coverage report --include='bindings/*' --format=total --fail-under=95 || { \
		$(BIN)/coverage report --include='bindings/*'; exit 1; }

# The core compiled by mypyc (docs/operations.md), in an environment of its own: its tests, and those of
# the bindings, run on that wheel. tests/compiled.py proves it, and says which cannot.
compiled: $(COMPILED)/.ready
	$(COMPILED)/venv/bin/python -m pytest -p tests.compiled -o pythonpath=. -n $(JOBS) --dist loadfile \
		$(or $(PYTEST_ARGS),tests/core tests/bindings)

bench: $(READY) $(if $(findstring --compiled,$(BENCH_ARGS)),$(COMPILED)/.ready)
	$(BIN)/python -m benchmarks $(BENCH_ARGS)

# Every scenario of `pipebus bench` for a few seconds, on both runtimes, and a page for each: that of trio
# beside asyncio's. All are made, also if a check fails; then the status is 1.
report: $(READY)
	@mkdir -p $(REPORTS)
	@failed=0; for scenario in $(SCENARIOS); do \
		against=; \
		for runtime in asyncio trio; do \
			run=$(REPORTS)/$$scenario-$$runtime; \
			echo "== $$scenario, $$runtime"; \
			$(BIN)/pipebus bench $$scenario --runtime $$runtime $(REPORT_ARGS) --json $$run.json || failed=1; \
			$(BIN)/pipebus report $$run.json $$against -o $$run.html || failed=1; \
			against="--against $$run.json"; \
		done; \
	done; ls $(REPORTS)/*.html; exit $$failed

mutation: $(READY) $(VENV)/.ready-mutation
	$(BIN)/python -m tests.mutation $(MUTATION_ARGS)

# Rewrites those parts of docs/ that are made from the code; tests fail while they are stale.
docs: $(READY)
	@for generator in docs/generate*.py; do \
		echo "$(BIN)/python $$generator"; $(BIN)/python "$$generator" || exit 1; \
	done

clean:
	rm -rf $(VENV) $(COMPILED) $(REPORTS) dist build .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
	rm -rf .hypothesis .mutation .coverage .coverage.* benchmarks/.venv benchmarks/results/*.tmp
	find core bindings tests benchmarks examples docs -name __pycache__ -type d -prune -exec rm -rf {} +

# The groups of pyproject.toml need the pip that constraints.txt names. hatchling comes from the dev
# group, so the package itself is built with no second download.
$(READY): pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) $(NEW_ENOUGH) || { \
		echo "pipebus needs Python 3.11 or newer: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python $(NEW_ENOUGH) || { \
		echo "pipebus needs Python 3.11 or newer, $(VENV) has an older one: make clean" >&2; exit 1; }
	$(BIN)/python -m pip install --quiet --constraint constraints.txt pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --group dev --group peers
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-build-isolation \
		--editable '.[cli,trio,fast,metrics]'
	@touch $@

$(VENV)/.ready-mutation: $(READY)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --group mutation
	@touch $@

# The environment is that of the others, but for the editable install, in whose place the wheel comes.
$(COMPILED)/.ready: pyproject.toml constraints.txt hatch_build.py $(shell find core bindings -name '*.py')
	@command -v $${CC:-cc} > /dev/null || { \
		echo "this needs a C compiler and the headers of Python (apt-get install gcc python3-dev)" >&2; exit 1; }
	$(MAKE) --no-print-directory VENV=$(COMPILED)/venv $(COMPILED)/venv/.ready
	rm -rf $(COMPILED)/dist
	PIPEBUS_COMPILE=1 $(COMPILED)/venv/bin/python -m build --wheel --no-isolation --outdir $(COMPILED)/dist
	$(COMPILED)/venv/bin/python -m pip install --quiet --no-deps --force-reinstall $(COMPILED)/dist/*.whl
	@touch $@
