PYTHON ?= python3
VENV ?= .venv
THREADS ?= 2

PY := $(VENV)/bin/python
PIP_INSTALL := $(PY) -m pip install --quiet -c constraints.txt
STAMP := $(VENV)/.setup-done
LINTED = $(wildcard cosal_d2 tools tests datasets setup.py)

.PHONY: setup demo test lint clean

setup: $(STAMP)

$(STAMP): setup.py pyproject.toml constraints.txt cosal_d2/install_detectron2.py
	test -x $(PY) || $(PYTHON) -m venv $(VENV)
	$(PIP_INSTALL) setuptools torch torchvision
	$(PY) tools/install_detectron2.py --constraint constraints.txt
	$(PIP_INSTALL) --no-build-isolation --editable ".[test,lint]"
	$(PY) -m pip check
	touch $@

demo: setup
	$(PY) tools/quickstart.py

test: setup
	OMP_NUM_THREADS=$(THREADS) $(PY) -m pytest -q tests

lint: setup
	$(PY) -m ruff check $(LINTED)
	$(PY) -m ruff format --check $(LINTED)

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .ruff_cache .hypothesis
