PYTHON ?= python3
VENV ?= .venv
THREADS ?= 2

PY := $(VENV)/bin/python
PIP_INSTALL := $(PY) -m pip install --quiet -c constraints.txt
STAMP := $(VENV)/.setup-done
LINTED = cosal_d2 tools tests setup.py

.PHONY: setup demo test chaos chaos-full lint docs-pictures clean browser

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

# The tests of the HTML report and of the web page run in Chromium; where there is none, root on Debian gets it.
browser:
	@command -v chromium || command -v chromium-browser || command -v google-chrome \
	|| { test "$$(id -u)" = 0 && command -v apt-get >/dev/null && apt-get update -qq \
	&& DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium; } \
	|| echo "no Chromium: install chromium or google-chrome for the tests of the report and of the page"

test: setup browser
	OMP_NUM_THREADS=1 $(PY) -m pytest -q -n $(THREADS) --dist loadfile tests

# Kills, full disks, dead processes, damaged files and long runs: 20 minutes, or hours.
chaos chaos-full: setup
	PYTHONPATH=tests:$$PYTHONPATH OMP_NUM_THREADS=1 $(PY) -W ignore -m chaos $(if $(filter %-full,$@),--full) $(CHAOS)

lint: setup
	$(PY) -m ruff check $(LINTED)
	$(PY) -m ruff format --check $(LINTED)
	$(VENV)/bin/lint-imports

# What the cookbook's code prints and draws, with the released weights.
docs-pictures: setup
	$(PY) tools/docs_pictures.py

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .ruff_cache .hypothesis .import_linter_cache
