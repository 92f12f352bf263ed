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
	$(BIN)/pip install --quiet --editable '.[kubectl]' --config-settings editable_mode=compat
	$(BIN)/pip install --quiet 'cython>=3.1,<4' 'setuptools>=77' kubernetes-validate==1.37.0
	touch $@ $(VENV)/.kernels

$(VENV)/.kernels: $(SOURCES) | $(VENV)/.installed
	$(BIN)/python setup.py --quiet build_ext --inplace build_data
	touch $@

kernels: $(VENV)/.installed $(VENV)/.kernels

$(VENV)/.test: pyproject.toml | $(VENV)/.installed
	$(BIN)/pip install --quiet --editable '.[test]' --config-settings editable_mode=compat
	touch $@

$(VENV)/.check: pyproject.toml | $(VENV)/.installed
	$(BIN)/pip install --quiet --editable '.[test,check]' --config-settings editable_mode=compat
	touch $@

clean:
	rm -rf build dist *.egg-info $(VENV) ext/*.so ext/bin core/api/data
