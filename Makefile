# make install | demo | test | test-full | bench | docs | lint | clean
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
STAMP := .venv/.installed

.PHONY: install demo test test-full bench docs lint clean

install: $(STAMP)

# The environment is made again only when what it should contain has changed.
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

demo: install
	$(BIN)/jacobound demo --out build/demo

test: lint
	$(BIN)/pytest

# Also the tests marked slow.
test-full: lint
	$(BIN)/pytest -m ""

bench: install
	$(BIN)/python benchmarks/run.py

docs: install
	$(BIN)/python docs/build.py

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf .venv build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
