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
	@$(UV) pip install --quiet --python $(PY) --require-hashes -r requirements.lock
	@$(UV) pip install --quiet --python $(PY) --no-deps $(foreach m,$(MEMBERS),-e ./$(m))
	@touch $@

.PHONY: venv
venv: $(VENV)/.stamp ## Make .venv with every package and the executables containerd and ctr

.PHONY: lock
lock: $(UV) ## Pin third-party versions anew in requirements.lock
	@$(UV) lock --quiet --upgrade
	@$(UV) export --quiet --no-header --no-annotate --quiet --no-emit-workspace --all-packages --all-extras -o requirements.lock

.PHONY: proto
proto: venv ## Compile core's .proto files into the modules beside them
	@$(PY) -m grpc_tools.protoc -I core/src -I $$(echo $(VENV)/lib/python*/site-packages) --python_out=core/src --pyi_out=core/src $$(cd core/src && find pycontainerd/api -name '*.proto')
