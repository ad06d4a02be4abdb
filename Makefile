# pycontainerd. `make help` lists what there is.
SHELL := /bin/bash
.DEFAULT_GOAL := help
VENV := .venv
UV := .tools/bin/uv
PY := $(VENV)/bin/python
MEMBERS := core $(sort $(wildcard plugins/*))

.PHONY: help
help: ## Show what each target does
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(UV):
	@python3 -m venv .tools >/dev/null || { echo "python3 cannot make a virtual environment: install python3-venv" >&2; exit 1; }
	@.tools/bin/python -m pip install --quiet --disable-pip-version-check uv

$(VENV)/.stamp: $(UV) requirements.lock $(addsuffix /pyproject.toml,$(MEMBERS))
	@test -x $(PY) || $(UV) venv --quiet --python .tools/bin/python $(VENV)
	@$(UV) pip install --quiet --compile-bytecode --python $(PY) --require-hashes -r requirements.lock
	@$(UV) pip install --quiet --python $(PY) --no-deps $(foreach m,$(MEMBERS),-e ./$(m))
	@$(PY) -m compileall -q core/src $(wildcard plugins/*/src)
	@touch $@

.PHONY: venv
venv: $(VENV)/.stamp ## Make .venv with every package and the executables containerd and ctr

# Where Python is told not to write bytecode, a daemon would compile 300 files at each start.
.PHONY: bytecode
bytecode: venv
	@$(PY) -m compileall -q core/src $(wildcard plugins/*/src)

.PHONY: lock
lock: $(UV) ## Pin third-party versions anew in requirements.lock
	@$(UV) lock --quiet --upgrade
	@$(UV) export --quiet --no-header --no-annotate --quiet --no-emit-workspace --all-packages --all-extras -o requirements.lock

.PHONY: proto
proto: venv ## Compile core's .proto files into the modules beside them
	@$(PY) -m grpc_tools.protoc -I core/src -I $$(echo $(VENV)/lib/python*/site-packages) --python_out=core/src --pyi_out=core/src $$(cd core/src && find pycontainerd -name '*.proto')

.PHONY: setup
setup: ## Install the system packages that containers need (root on Debian/Ubuntu; elsewhere: say what is missing)
	@packaging/setup.sh run

.PHONY: root
root:
	@test "$$(id -u)" -eq 0 || { echo "containers need mounts, cgroups and namespaces, so this needs root. Try: sudo make $(MAKECMDGOALS)" >&2; exit 1; }

.PHONY: demo
demo: setup root venv bytecode ## Start a daemon, run a container from an image, show it (IMAGE=… pulls that one)
	@packaging/demo.sh

.PHONY: lint
lint: setup-python venv ## ruff, mypy --strict, the import rules
	@$(VENV)/bin/ruff check --quiet .
	@$(VENV)/bin/ruff format --check --quiet .
	@$(VENV)/bin/mypy --no-error-summary core/src $(wildcard plugins/*/src)
	@$(VENV)/bin/lint-imports --no-cache >/dev/null || $(VENV)/bin/lint-imports --no-cache

.PHONY: setup-python
setup-python:
	@python3 -c 'import ensurepip, venv' 2>/dev/null || packaging/setup.sh run

.PHONY: test
test: setup-test venv ## Run the whole suite, with the real containerd, runc and registry beside ours (ARGS=… goes to pytest)
	@$(VENV)/bin/pytest $(ARGS)

.PHONY: setup-test
setup-test:
	@packaging/setup.sh test

.PHONY: bench
bench: setup-test venv bytecode ## Measure against the Go containerd, paired in one run
	@$(PY) benchmarks/run.py

.PHONY: dist
dist: venv ## Build the wheels of all packages and the manual pages into dist/
	@rm -rf dist && $(UV) build --quiet --all-packages --wheel --out-dir dist && $(PY) packaging/man.py dist/man && ls dist dist/man

.PHONY: docs
docs: venv ## Draw the generated parts of the docs anew
	@$(PY) docs/generate.py
	@$(PY) docs/generate_reference.py
