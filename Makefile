SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
MAKEFLAGS += --warn-undefined-variables --no-builtin-rules
# The platform and its tests start hundreds of processes: each would compile every module anew.
unexport PYTHONDONTWRITEBYTECODE

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
NAME ?=
BASE ?= origin/main
ARGS ?=
IMAGE ?= tieline
BASE_IMAGE ?=
BUILDER ?= $(firstword $(foreach tool,docker podman buildah,$(shell command -v $(tool))))
COMPILE := $(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-annotate \
  --no-header
PROTOS := $(sort $(shell find protos -name "*.proto"))
SERVICE_PROTOS := $(filter %_service.proto,$(PROTOS))
GEN ?= gen
DOCS ?= docs
CHART ?= helm/tieline
GOLDEN ?= tests/unit/helm/golden
# protoc finds its plugins by the search path.
PROTOC := PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python -m grpc_tools.protoc -I protos

##@ Everyday
.PHONY: run
run: install ## Set up, start the platform on this machine, play the main job, serve until Ctrl-C
	@$(BIN)/tieline up --demo $(ARGS)

.PHONY: up
up: install ## Start the platform on this machine without the main job
	@$(BIN)/tieline up $(ARGS)

.PHONY: observe
observe: install ## Start Prometheus on the running platform, with the chart's alerts, until Ctrl-C
	@$(BIN)/tieline observe --alerts $(CHART)/alerts $(ARGS)

.PHONY: check
check: lint types ## Lint and type checks

.PHONY: format
format: install ## Rewrite Python and proto files in the project's format
	$(BIN)/ruff check --fix services operator tests bench docs
	$(BIN)/ruff format services operator tests bench docs
	$(BIN)/buf format -w

.PHONY: lint
lint: install ## Check style, layers, protos and migrations
	$(BIN)/ruff check services operator tests bench docs
	$(BIN)/ruff format --check services operator tests bench docs
	$(BIN)/lint-imports
	$(BIN)/buf lint
	$(BIN)/buf format --diff --exit-code
	$(BIN)/squawk --config .squawk.toml services/tieline/*/migrations/*.sql
	@for template in services/tieline/chassis/chassis_migrations/*.sql; do \
	  sed 's/{schema}/chassis/g' "$$template" | \
	    $(BIN)/squawk --config .squawk.toml --stdin-filepath "$$template"; \
	done

.PHONY: types
types: install ## Check types (mypy, strict)
	$(BIN)/mypy services operator bench docs tests

##@ Tests
.PHONY: test
test: install ## Set up what is missing and run the whole test suite
	$(BIN)/pytest -n 4 --dist loadfile --no-loadscope-reorder $(ARGS)

.PHONY: test-unit
test-unit: install ## Run the tests that need no server
	$(BIN)/pytest tests/unit $(ARGS)

.PHONY: test-cluster
test-cluster: install ## Run the operator's tests on the cluster of KUBECONFIG, in its context's namespace
	@test -n "$(KUBECONFIG)" || { echo "set KUBECONFIG to the cluster's file"; exit 1; }
	TIELINE_TEST_KUBECONFIG=$(KUBECONFIG) $(BIN)/pytest tests/integration/operator/test_on_cluster.py $(ARGS)

.PHONY: bench
bench: install ## Run all benchmarks, or those whose figures begin with NAME (make bench NAME=chassis)
	$(BIN)/python -m bench $(NAME)

##@ Generated
.PHONY: generate
generate: install ## Generate gen/ from protos/
	@rm -rf $(GEN)/tieline && mkdir -p $(GEN)
	@$(PROTOC) --python_out=$(GEN) --mypy_out=quiet:$(GEN) $(PROTOS)
	@$(PROTOC) --grpc_python_out=$(GEN) --mypy_grpc_out=only_async,quiet:$(GEN) $(SERVICE_PROTOS)

.PHONY: docs
docs: install ## Write docs/settings.md, docs/events.md, the chart's README, tables and dashboards
	@$(BIN)/python -m docs.generate $(DOCS)
	@$(BIN)/python -m docs.generate_chart $(CHART)
	@$(BIN)/python -m docs.generate_dashboards $(CHART)

.PHONY: golden
golden: install ## Write what the chart's examples render, in short, for the review of a change
	@PYTHONPATH=tests $(BIN)/python -m chart_summary $(GOLDEN)

.PHONY: generate-check
generate-check: install ## Fail if a generated file is not what its source says
	@fresh=$$(mktemp -d) && trap 'rm -rf "$$fresh"' EXIT && \
	  $(MAKE) --no-print-directory generate GEN="$$fresh/gen" && \
	  diff -rq -x __pycache__ "$$fresh/gen" gen || { echo "gen/ is stale: run make generate"; exit 1; } && \
	  $(MAKE) --no-print-directory docs DOCS="$$fresh" CHART="$$fresh/chart" && \
	  for page in settings events; do \
	    cmp "$$fresh/$$page.md" docs/$$page.md || { echo "docs/ is stale: run make docs"; exit 1; }; \
	  done && \
	  for file in README.md files/nats-permissions.json files/nats-values.yaml; do \
	    cmp "$$fresh/chart/$$file" helm/tieline/$$file || { echo "the chart is stale: run make docs"; exit 1; }; \
	  done && \
	  diff -r "$$fresh/chart/dashboards" helm/tieline/dashboards || \
	    { echo "the dashboards are stale: run make docs"; exit 1; } && \
	  $(MAKE) --no-print-directory golden GOLDEN="$$fresh/golden" && \
	  diff -r "$$fresh/golden" tests/unit/helm/golden || \
	    { echo "the lists of what the chart renders are stale: run make golden"; exit 1; }

.PHONY: breaking
breaking: install ## Fail if the protos break clients of the revision BASE
	$(BIN)/buf breaking --against '.git#ref=$(BASE)'

##@ Image
.PHONY: image
image: ## Build the image with docker, podman or buildah (IMAGE=name BASE_IMAGE=base)
	@[ -n "$(BUILDER)" ] || { echo "image: none of docker, podman, buildah is installed" >&2; exit 1; }
	$(BUILDER) build --tag $(IMAGE) $(if $(BASE_IMAGE),--build-arg BASE_IMAGE=$(BASE_IMAGE)) \
	  --build-arg VERSION=$$(sed -n 's/^version = "\(.*\)"$$/\1/p' pyproject.toml) \
	  --build-arg REVISION=$$(git rev-parse HEAD) .

.PHONY: image-size
image-size: install ## Print how large the image's environment is, unpacked
	@folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT && \
	  $(PYTHON) -m venv --without-pip "$$folder/venv" && \
	  $(BIN)/pip wheel --quiet --no-deps --no-build-isolation --wheel-dir "$$folder/dist" . && \
	  $(BIN)/pip --python "$$folder/venv/bin/python" install --quiet --no-cache-dir --require-hashes \
	    --only-binary :all: -r requirements-image.lock && \
	  $(BIN)/pip --python "$$folder/venv/bin/python" install --quiet --no-deps --no-index "$$folder"/dist/*.whl && \
	  "$$folder/venv/bin/tieline" version && du -sm --apparent-size "$$folder/venv" | awk '{print $$1 " MB"}'

##@ Maintenance
.PHONY: install
install: $(VENV)/.installed ## Create .venv with the locked dependencies

$(VENV)/.installed: requirements.lock pyproject.toml
	@PYTHON=$(PYTHON) bash ./install.sh $(VENV)
	@touch $@

.PHONY: lock
lock: install ## Choose current versions of all dependencies and lock them with their hashes
	$(BIN)/pip install --quiet uv
	$(COMPILE) --upgrade --extra embedded --group dev pyproject.toml -o requirements.lock
	@# The image gets the same versions, of what runs in a cluster and of what builds its wheel.
	$(COMPILE) --constraint requirements.lock pyproject.toml -o requirements-image.lock
	$(COMPILE) --constraint requirements.lock --group build -o requirements-build.lock

.PHONY: clean
clean: ## Remove the virtual environment, caches and the data of `make run`
	rm -rf $(VENV) .tieline .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

.PHONY: help
help: ## List the targets
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} \
	  /^[a-z-]+:.*## / {printf "  %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
