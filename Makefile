# make install | demo | benchmark | test | test-lowest | lint | docs | dist | bench | clean

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: install demo benchmark test test-lowest lint docs dist bench clean
.DELETE_ON_ERROR:

install: $(STAMP)

# torch goes first, at its pinned version: a bare resolve may draw another build of it.
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "sitsfuse needs Python 3.11 or newer, $(PYTHON) is $$($(PYTHON) --version 2>&1); try: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; \
	  exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[torch,onnx,scale,report,stac,download,test,lint,docs]"
	@touch $@

demo: install
	$(BIN)/sitsfuse demo -o demo-output

# The six simulated sites at a reduced size: two dates of each, both ratios, all methods.
benchmark: install
	$(BIN)/sitsfuse benchmark -o benchmark-output --size 200 --max-dates 2
	$(BIN)/sitsfuse report benchmark-output

test: install
	$(BIN)/python -m pytest -n auto --dist loadgroup

# The tests with the lowest versions that pyproject.toml promises, in an environment of their own.
test-lowest:
	$(PYTHON) -m venv --clear $(VENV)-lowest
	$(PYTHON) .ci/lowest.py > $(VENV)-lowest/constraints.txt
	$(VENV)-lowest/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(VENV)-lowest/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt \
	  -c $(VENV)-lowest/constraints.txt -e ".[torch,onnx,scale,report,stac,test]"
	$(VENV)-lowest/bin/python -m pytest -n auto --dist loadgroup

lint: install
	$(BIN)/ruff check src tests benchmarks examples docs .ci
	$(BIN)/ruff format --check src tests benchmarks examples docs .ci
	$(BIN)/mypy

# The site, in build/docs/index.html: tutorials are run, warnings are errors.
docs: install
	$(BIN)/python -m sphinx -W --keep-going -j auto -q -b html -d build/doctrees docs build/docs

# Wheel and sdist in dist/, each installed into an empty environment and used there.
dist: install
	$(BIN)/python .ci/dist.py

bench: install
	$(BIN)/python benchmarks/scaling.py
	$(BIN)/python benchmarks/series.py
	$(BIN)/python benchmarks/accuracy.py
	$(BIN)/python benchmarks/ddi.py
	$(BIN)/python benchmarks/windows.py
	$(BIN)/python benchmarks/corrections.py
	$(BIN)/python benchmarks/prepare.py
	$(BIN)/python benchmarks/superresolution.py
	$(BIN)/python benchmarks/evaluation.py
	$(BIN)/python benchmarks/uncertainty.py
	$(BIN)/python benchmarks/imports.py

clean:
	rm -rf $(VENV) $(VENV)-lowest demo-output benchmark-output .pytest_cache .hypothesis .mypy_cache .ruff_cache .benchmarks build dist docs/_made
	find src tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
