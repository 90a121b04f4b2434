# The two commands are `make book` and `make test`; both create the environment .venv on their first use.
#
# PYTHON       which Python (3.11 or later) the environment is made of.
# TORCH_INDEX  where torch comes from. Left out, it is the build that the package registry has, which for Linux is made
#              for NVIDIA GPUs and several GB large. Without a GPU take the CPU build: choose "Pip" and "CPU" in the
#              selector of PyTorch's "Get started" page and hand over the address that it shows after --index-url:
#                  make book TORCH_INDEX=that-address
# PROFILE      laptop (real conclusions) or smoke (seconds; for a look at the pages).
PYTHON ?= python3
TORCH_INDEX ?=
PROFILE ?= laptop
# What was given is handed on as it is, in the environment: neither make nor a shell reads it as a piece of program.
override PYTHON := $(value PYTHON)
override TORCH_INDEX := $(value TORCH_INDEX)
override PROFILE := $(value PROFILE)
override URL := $(value URL)
export PYTHON TORCH_INDEX PROFILE URL

BIN := .venv/bin
READY := .venv/.ready
# uv reads no pip configuration: a folder of wheels that pip knows must be named to it.
UV := UV_FIND_LINKS="$${PIP_FIND_LINKS:-}" $(BIN)/uv pip
# libgomp's threads spin against each other: one thread a process, two processes.
export OMP_NUM_THREADS := 1

.PHONY: help book test look verify audit lab publish archive neurolibre pdf address picture clean
.DEFAULT_GOAL := help

help:
	@echo "make book       execute the chapters that changed, write build/html"
	@echo "make test       run the tests"
	@echo "make look       look at every page that was built last in chromium: light, dark, wide, narrow"
	@echo "make verify     run the slow parity tests (wants ISTAPP_OFFICIAL and ISTAPP_DATA)"
	@echo "make audit      look the pinned packages up among known faults (asks a database on the network)"
	@echo "make lab        open the chapters in JupyterLab"
	@echo "make publish    execute nothing; refuse what is stale or edited; ready build/html for a web host"
	@echo "make archive    publish, then pack pages, sources and their hashes into one zip"
	@echo "make neurolibre publish, then lay the project out as NeuroLibre wants a repository"
	@echo "make pdf        print the pages that were built last into one PDF (wants chromium)"
	@echo "make address URL=https://github.com/OWNER/NAME    write the repository's address everywhere"
	@echo "make picture    take the README's picture from the cover that was built last"
	@echo "make clean      remove what was built (the environment stays)"

$(READY): requirements.txt constraints.txt hashes.txt pyproject.toml
	@"$$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed: make PYTHON=python3.x")'
	@echo "creating the environment .venv (once; minutes when the packages must be fetched) ..."
	@test -x $(BIN)/python || "$$PYTHON" -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt uv
	@test -z "$$TORCH_INDEX" || $(UV) install --no-deps -c constraints.txt --index-url="$$TORCH_INDEX" torch
	@$(UV) install -r requirements.txt -c hashes.txt
	@$(UV) install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

book: $(READY)
	@exec $(BIN)/python book/build.py book --profile="$$PROFILE"

publish: $(READY)
	@exec $(BIN)/python book/build.py publish

archive neurolibre pdf: $(READY)
	@exec $(BIN)/python book/build.py $@

address: $(READY)
	@$(BIN)/python book/build.py address -- "$$URL"

test: $(READY)
	@mkdir -p build
	@$(BIN)/python -m pytest -n 2 --dist loadgroup --junitxml=build/tests.xml \
		&& echo "make test: passed; the report is $$PWD/build/tests.xml" \
		|| { echo "make test: FAILED; the report is $$PWD/build/tests.xml"; exit 1; }

look: $(READY)
	@mkdir -p build
	@$(BIN)/python -m pytest -m look -n 2 --junitxml=build/look.xml tests/test_site.py \
		&& echo "make look: passed; the report is $$PWD/build/look.xml" \
		|| { echo "make look: FAILED; the report is $$PWD/build/look.xml"; exit 1; }

verify: $(READY)
	@mkdir -p build
	@$(BIN)/python -m pytest -m verify -v --junitxml=build/verify.xml \
		&& echo "make verify: passed; the report is $$PWD/build/verify.xml" \
		|| { echo "make verify: FAILED; the report is $$PWD/build/verify.xml"; exit 1; }

picture: $(READY)
	@$(BIN)/python book/picture.py

# In an environment of its own: what looks for faults is no part of what is looked at.
audit:
	@"$$PYTHON" -m venv build/audit && build/audit/bin/python -m pip install --quiet pip-audit
	@build/audit/bin/pip-audit --no-deps --disable-pip -r constraints.txt

lab: $(READY)
	@$(BIN)/jupyter lab notebooks

clean:
	@rm -rf build runs/.cache .pytest_cache .ruff_cache .hypothesis
	@echo "make clean: removed what was built; 'rm -r .venv' removes the environment too"
