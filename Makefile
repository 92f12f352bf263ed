# make demo   a one-node cluster with a Deployment and a Service that answers, left running (make down)
# make test   everything that this machine can test, in under 15 minutes on two cores

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SHELL := /bin/bash
SOURCES := $(wildcard ext/*.pyx ext/*.pxd ext/*.h ext/native/*.c core/api/schema_compiler.py)

.PHONY: demo down test test-long check bench debug kernels clean

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip

# Installed when the metadata changes; the kernels again when their sources do.
$(VENV)/.installed: pyproject.toml setup.py | $(BIN)/python
	$(BIN)/pip install --quiet --editable '.[kubectl]'
	$(BIN)/pip install --quiet 'cython>=3.1,<4' 'setuptools>=77' kubernetes-validate==1.37.0
	$(BIN)/python -m compileall -q core ext services cybernetes/*.py
	touch $@ $(VENV)/.kernels

$(VENV)/.kernels: $(SOURCES) | $(VENV)/.installed
	$(BIN)/python setup.py --quiet build_ext --inplace build_data
	$(BIN)/python -m compileall -q core ext services cybernetes/*.py
	touch $@

kernels: $(VENV)/.installed $(VENV)/.kernels

$(VENV)/.test: pyproject.toml | $(VENV)/.installed
	$(BIN)/pip install --quiet --editable '.[test]'
	touch $@

$(VENV)/.check: pyproject.toml | $(VENV)/.installed
	$(BIN)/pip install --quiet --editable '.[test,check]'
	touch $@

demo: kernels
	$(BIN)/python examples/demo.py

down:
	$(BIN)/cybernetes down

# loadgroup: tests that share a cluster stay on one worker.
test: kernels $(VENV)/.test
	$(BIN)/pytest -n 2 --dist loadgroup

test-long: kernels $(VENV)/.test
	$(BIN)/pytest -m 'long or not long' --timeout 3600

check: kernels $(VENV)/.check
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/mypy -p cybernetes

bench: kernels $(VENV)/.test
	$(BIN)/pytest bench --benchmark-only --benchmark-columns=min,median,mean,rounds

# The kernels with bounds checks, in a folder of their own, under the same tests.
debug: kernels $(VENV)/.test
	rm -rf build/debug && CYBERNETES_DEBUG=1 $(BIN)/pip install --quiet --no-deps --target build/debug .
	PYTHONPATH=build/debug CYBERNETES_DEBUG=1 $(BIN)/pytest -q tests/unit/ext

clean:
	rm -rf build dist *.egg-info $(VENV) ext/*.so ext/bin core/api/data
