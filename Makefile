# Each makes its own environment: `make demo`, `make test`, `make test-all`, `make docs`.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test test-all check audit docs clean
.DELETE_ON_ERROR:

demo: .venv/ready  ## train with and without the motion focal loss, animate, judge, open the page
	$(BIN)/motionfocal demo --out runs/demo

test: check  ## style, types, and all tests but those that take minutes each; what CI runs
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 -m "not long"

test-all: check  ## style, types, and all tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2

check: .venv/ready-dev  ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pip check

audit: .venv/ready-dev  ## known vulnerabilities of what is installed; asks the package index, and fails where that cannot tell
	$(BIN)/python -m pip install --quiet --disable-pip-version-check pip-audit
	$(BIN)/python -m pip freeze --exclude-editable > .venv/frozen.txt
	$(BIN)/pip-audit --requirement .venv/frozen.txt --no-deps --disable-pip --strict

docs: .venv/ready-dev  ## the documentation as a site, in site/
	$(BIN)/python docs/site/collect.py
	$(BIN)/zensical build --strict

clean:  ## forget the environment
	rm -rf .venv

.venv/ready: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "MotionFocal needs Python 3.11 or newer; try make PYTHON=python3.12")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	touch $@

.venv/ready-dev: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "MotionFocal needs Python 3.11 or newer; try make PYTHON=python3.12")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	touch $@ .venv/ready
