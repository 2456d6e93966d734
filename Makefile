# Sightline. `make run` starts the app, `make test` runs every check; both set up what they need in .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ADDRESS ?= 127.0.0.1
PORT ?= 8501
export PYTHONPATH := .
export STREAMLIT_BROWSER_GATHER_USAGE_STATS := false

.PHONY: help run serve test check lint types bench screenshots clean
.DEFAULT_GOAL := help

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

run: $(VENV)/.run ## start the app on 127.0.0.1:8501 (PORT=... for another)
	@echo "Sightline: http://$(ADDRESS):$(PORT)"
	@$(BIN)/streamlit run app.py --server.address $(ADDRESS) --server.port $(PORT)

serve: $(VENV)/.serve ## serve the models on 127.0.0.1:8600 with Ray (SERVE="--replicas 2 ...")
	@$(BIN)/python -m dashboard serve $(SERVE)

test: ## run every check and test
	@$(MAKE) --no-print-directory -j2 types lint $(VENV)/.browser
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 3 --dist worksteal

check: types lint ## lint, types, layers, dependencies

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-logo
	$(BIN)/deptry .

types: $(VENV)/.dev
	$(BIN)/mypy models explainers sample_data dashboard app.py

bench: $(VENV)/.dev ## measure explanations against the libraries (QUICK=1: under 3 minutes)
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.explain $(if $(QUICK),--quick,--write)

screenshots: $(VENV)/.browser ## make the README's pictures anew
	$(BIN)/python docs/screenshots.py

clean: ## remove the environment and caches
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

# uv installs in seconds what takes pip minutes; where it cannot (an index that only pip is told of), pip does.
install = $(BIN)/python -m pip install --quiet --disable-pip-version-check uv \
	&& $(BIN)/uv pip install --quiet --python $(BIN)/python -r $(1) \
	|| $(BIN)/python -m pip install --quiet --disable-pip-version-check -r $(1)

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit("Sightline needs Python 3.11 or newer." if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.run: requirements.txt | $(BIN)/python
	@echo "Installing what the app needs (about 6 GB with torch; minutes the first time) ..."
	$(call install,requirements.txt)
	@touch $@

$(VENV)/.serve: requirements.txt requirements-serve.txt | $(BIN)/python
	$(call install,requirements-serve.txt)
	@touch $@ $(VENV)/.run

$(VENV)/.dev: requirements.txt requirements-serve.txt requirements-dev.txt | $(BIN)/python
	$(call install,requirements-dev.txt)
	@touch $@ $(VENV)/.run $(VENV)/.serve

# Debian's Chromium where we may install it, playwright's own elsewhere.
$(VENV)/.browser: $(VENV)/.dev
	@if command -v chromium >/dev/null 2>&1; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium >/dev/null; \
	else $(BIN)/playwright install chromium; fi
	@touch $@
