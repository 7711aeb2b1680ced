# make run | test | check | bench | chaos | dashboard | dist | deb | docs | clean. Needs Python 3.11 or newer;
# everything else it fetches into .venv itself.

SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check --quiet
export PYTHON
# an environment that keeps Python from writing what it has compiled has it compile ngpu anew at every start
export PYTHONDONTWRITEBYTECODE :=

# make run: the gateway's configuration, the demo worker's port, and all ports that have to be free
CONFIG ?= config/demo.yaml
DEMO_PORT ?= 18080
PORTS ?= 8080 8081 $(DEMO_PORT)
# make test, make bench, make chaos: more arguments for them
ARGS ?=
# make test: files of tests that run side by side; most of them wait for programs of their own
JOBS ?= 5

.PHONY: help run test check bench chaos dashboard pictures dist deb docs clean

help:
	@echo "make run    start the gateway and a demo worker; Ctrl-C stops both"
	@echo "make test   style, types, layers, tests"
	@echo "make check  the same without the tests"
	@echo "make chaos  break gateways, stores and workers for ARGS=\"--minutes 10\", and see what became of every task"
	@echo "make dist   make dist/ngpu, one file that is all of it, a wheel and a source distribution"
	@echo "make dashboard  build the dashboard's files anew out of dashboard/ (needs Node.js 18 or newer with npm)"
	@echo "make deb    make a Debian package of that file in dist/"
	@echo "make docs   make a site of docs/ in build/docs; open build/docs/index.html"
	@echo "make bench  measure the gateway beside other proxies on this machine; ARGS=--quick for a short run"
	@echo "make clean  remove what make has made"

# An installation that broke off leaves no stamp, so the next make begins it again.
$(VENV)/.run: setup.py pyproject.toml
	@.ci/venv $(VENV)
	@echo "Installing ngpu and what it needs into $(VENV); this is done once ..."
	@$(PIP) --editable '.[demo]'
	@touch $@

$(VENV)/.dev: setup.py pyproject.toml
	@.ci/venv $(VENV)
	@echo "Installing ngpu, what it needs and the tools for its tests into $(VENV); this is done once ..."
	@$(PIP) --editable '.[demo,dev,docs]'
	@touch $(VENV)/.run $(VENV)/.docs $@

# The gateway holds the other end of the worker's standard input, and the worker ends with it: no orphan stays, however
# the gateway ends. The gateway takes the place of make's shell, so that make hands it the signals it gets itself.
run: $(VENV)/.run
	@$(BIN)/python -m ngpu.demo.free $(PORTS)
	@mkdir -p var
	@echo "Starting a demo worker (port $(DEMO_PORT)) and the gateway with $(CONFIG). Ctrl-C stops both."
	@echo "What to try now: README.md, the first ten minutes."
	@exec 9> >(exec $(BIN)/python -m ngpu.demo --port $(DEMO_PORT) --exit-with-stdin) \
		&& exec $(BIN)/ngpu run -c $(CONFIG)

# Tests that want what could not be installed say so themselves. What waits for the network, or has one processor work,
# goes side by side with something else; the tests are compiled once here, and not by each of the processes below.
# promtool looks at docs/observability; some releases have docker in docker.io, and others in a package of its own.
test:
	@.ci/venv $(VENV)
	@{ .ci/apt redis-server:redis-server systemd-analyze:systemd dockerd:docker.io docker-registry:docker-registry \
		busybox:busybox-static ip:iproute2 openssl:openssl sshd:openssh-server curl:curl faketime:faketime \
		chromium:chromium; \
	.ci/apt promtool:prometheus; .ci/apt docker:docker-cli; } & \
	$(MAKE) --no-print-directory $(VENV)/.dev; code=$$?; wait; exit $$code
	@$(BIN)/python -m pytest -qq --collect-only -p no:cacheprovider >/dev/null 2>&1 & \
	$(MAKE) --no-print-directory check; code=$$?; wait; exit $$code
	$(BIN)/python -m pytest --numprocesses $(JOBS) --dist loadfile --no-loadscope-reorder $(ARGS)

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q --no-header -p no:cacheprovider tests/test_layers.py

$(VENV)/.bench: $(VENV)/.dev
	@$(PIP) --editable '.[bench]'
	@touch $@

# Peers that could not be installed are left out, with a line that says so.
bench: $(VENV)/.bench
	@.ci/apt wrk:wrk nginx:nginx haproxy:haproxy || true
	$(BIN)/python bench/compare.py $(ARGS)

chaos: $(VENV)/.dev
	@.ci/apt redis-server:redis-server faketime:faketime || true
	$(BIN)/python tests/chaos/chaos_trial.py $(ARGS)

# The built files are committed, so that nobody needs npm to install ngpu; tests/test_dashboard_built.py compares them.
dashboard:
	cd dashboard && npm ci --ignore-scripts --no-audit --no-fund && npm run build

# Takes some minutes, since charts want something to show.
pictures: $(VENV)/.dev
	NGPU_PICTURES=docs/screenshots $(BIN)/python -m pytest -q tests/fleet/test_dashboard.py

$(VENV)/.docs: setup.py pyproject.toml
	@.ci/venv $(VENV)
	@echo "Installing what makes a site of docs/ into $(VENV); this is done once ..."
	@$(PIP) --editable '.[docs]'
	@touch $@

docs: $(VENV)/.docs
	@$(BIN)/python -m sphinx -q --fail-on-warning --keep-going --jobs auto docs build/docs
	@echo "build/docs/index.html"

dist: $(VENV)/.dev
	@$(BIN)/python tools/dist.py $(ARGS)

deb: dist
	@tools/deb.sh

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis twisted/plugins/dropin.cache
	find . -name __pycache__ -prune -exec rm -rf {} +
