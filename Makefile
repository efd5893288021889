# Everything stays in this folder: .venv is made here, nothing is installed anywhere else.
# `make` alone lists the targets.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

# Without bytecode every start of the tool takes about three times as long.
unexport PYTHONDONTWRITEBYTECODE
# What was meant for another environment must not leak into this one.
unexport PYTHONPATH PYTHONHOME VIRTUAL_ENV PYTEST_ADDOPTS PYTEST_PLUGINS

PYTHON ?= python3
# One more than the cores that we count on: tests wait for other processes a quarter of their time.
WORKERS ?= 3
VENV := .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv
RUN := reports/allure-results

# Suites with doctests in them: the product, and every document with an example.
DOCTESTS = --doctest-modules --doctest-glob='*.md' --ignore=rollback/observe/load/locustfile.py \
	rollback $(wildcard README.md docs)

.PHONY: help
help: ## List the targets
	@awk 'BEGIN {FS = ":.*## "} \
		/^##@ / {printf "\n%s\n", substr($$0, 5)} \
		/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' Makefile

##@ Use

.PHONY: setup
setup: $(VENV)/.installed ## Make .venv: every dependency pinned, checked by hash, bytecode compiled

.PHONY: demo
demo: setup ## Break a small system on this machine and watch it come back
	@$(BIN)/rollback demo

##@ Develop

.PHONY: test
test: setup ## Everything a change must pass: style, types, walls, tests, doctests
	@status=0; \
	$(MAKE) --no-print-directory check || status=$$?; \
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile -m 'not drill and not long' tests $(DOCTESTS) $(ARGS) < /dev/null || status=$$?; \
	if [ $$status -ne 0 ]; then echo 'FAILED: see above' >&2; fi; \
	exit $$status

.PHONY: check
check: setup ## Style, types and walls only
	@status=0; \
	$(BIN)/ruff format --check . || status=1; \
	$(BIN)/ruff check . || status=1; \
	$(BIN)/mypy --strict || status=1; \
	$(BIN)/lint-imports || status=1; \
	exit $$status

.PHONY: format
format: setup ## Put the code into its form
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

.PHONY: long
long: setup ## The tests that `make test` leaves out because they take long
	@$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile -m long tests $(ARGS) < /dev/null

.PHONY: drill
drill: setup ## Every drill and the complete kill sweeps (long)
	@$(BIN)/python -m drills sweep
	@$(MAKE) --no-print-directory long ARGS=
	@LEASE_ROUNDS=200 RACE_ATTEMPTS=12500 KILL_EVERY=1 POWER_STATES=20000 ERRNO_EVERY=1 DISK_EVERY=1 HISTORY_DAYS=30 IMAGE_CUTS=500 GATE_ATTACKS=all BREAKAGES_EVERY=1 \
		$(BIN)/python -m pytest drills tests/drills/test_sixteen.py \
		tests/keep/test_lease.py tests/keep/test_races.py tests/keep/test_sqlite.py tests/act/test_recovery.py tests/act/test_ways.py \
		tests/conformance/test_our_actions.py tests/act/test_confirm.py tests/act/test_settling.py tests/act/test_fallback.py tests/keep/test_writer.py tests/keep/test_git.py \
		tests/keep/test_power_loss.py tests/keep/test_image_cuts.py tests/keep/test_errno.py tests/keep/test_errno_real.py \
		tests/keep/test_full_disk.py tests/keep/test_history.py tests/prove/test_gate_attacks.py --alluredir=$(RUN)/drills-$$(date -u +%Y%m%dT%H%M%SZ) $(ARGS) < /dev/null

.PHONY: mutants
mutants: setup ## Change every condition of the gate's decision, and see that each is noticed
	@$(BIN)/python -m tests.prove.mutants

.PHONY: strength
strength: setup ## Plant faults in a sandbox, one at a time, and see which of them its gate notices (long)
	@$(BIN)/python -m drills strength

.PHONY: bench
bench: setup ## Measure: ratios within one run
	@$(BIN)/python -m benchmarks

.PHONY: bench-store
bench-store: setup ## Measure the checkpoint store beside restic, borg, git, rsync, cp and tar (long)
	@$(BIN)/python -m benchmarks store

.PHONY: trace
trace: setup ## Which requirement is proved by which test
	@$(BIN)/python -m tests.trace

.PHONY: allure
allure: reports/node_modules/.package-lock.json ## Pages from the newest results in reports/ (RESULTS=folder for others); needs Node.js 20
	@results="$${RESULTS:-$$( (ls -1td $(RUN)/*/ 2>/dev/null || true) | head -n 1)}"; \
	if [ ! -d "$$results" ]; then echo "No results in $${results:-$(RUN)/}: \`make drill\` leaves some, and every run in .rollback/runs/RUN/allure-results." >&2; exit 1; fi; \
	results="$$(realpath "$$results")"; \
	rm -rf reports/allure-report; \
	cd reports; node_modules/.bin/allure generate "$$results"; \
	find allure-report -name index.html -exec sed -i '/googletagmanager/d' {} +; \
	echo reports/allure-report/index.html

##@ Maintain

.PHONY: lock
lock: $(VENV)/.bootstrapped ## Compile the locks again (UPGRADE=--upgrade for newer versions)
	$(UV) pip compile --quiet --universal --generate-hashes --no-header $(UPGRADE) \
		--all-extras --group dev --output-file requirements.lock pyproject.toml
	echo 'uv>=0.9' | $(UV) pip compile --quiet --universal --generate-hashes --no-header --no-annotate $(UPGRADE) \
		--output-file requirements-bootstrap.lock -

.PHONY: wheel
wheel: setup ## Build dist/*.whl
	@$(BIN)/python -m build --no-isolation --wheel

.PHONY: clean
clean: ## Remove everything that was made here
	rm -rf $(VENV) build dist .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
	rm -rf reports/node_modules reports/allure-report
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +

# --- How .venv is made: three steps, each repeated only if its file changed ---

$(VENV)/.bootstrapped: requirements-bootstrap.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement $<
	@touch $@

$(VENV)/.synced: requirements.lock $(VENV)/.bootstrapped
	$(UV) pip sync --quiet --python $(BIN)/python --require-hashes --compile-bytecode $<
	@touch $@

$(VENV)/.installed: pyproject.toml $(VENV)/.synced
	$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

reports/node_modules/.package-lock.json: reports/package-lock.json
	@command -v npm >/dev/null || { echo 'npm is missing: pages need Node.js 20 or newer; the results are complete without it.' >&2; exit 1; }
	@echo "Allure is installed into reports/node_modules, once: $$(grep -c '"node_modules/' $<) packages, which takes seconds on a fast network and minutes on a slow one." >&2
	npm ci --prefix reports --no-audit --no-fund --progress
	@touch $@
