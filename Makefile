# make demo    install, then show one study going through the node and coming back
# make test    install, then everything that checks the product
# make install the product in .venv, its command at .venv/bin/dicom-node

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PACKAGES := config dicom_node models pipeline storage

.PHONY: install demo test campaign benchmark peers check format clean help

help:
	@sed -n 's/^# //p' Makefile

install: $(VENV)/.installed

demo: install
	$(BIN)/python -m dicom_node.demo $(if $(STUDY),--study "$(STUDY)")

## Three processes on two cores: the tests of the running node mostly wait. They come first, as
## collected, so that no long one is left over at the end.
test: peers check
	$(BIN)/pytest -m "not campaign" --numprocesses 3 --dist loadfile --no-loadscope-reorder --durations=15

campaign: peers check
	$(BIN)/pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder --durations=30

benchmark: peers $(VENV)/.installed-test
	$(BIN)/python -m tests.benchmarks

check: $(VENV)/.installed-test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.installed-test
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

peers:
	@sh tests/install_peers.sh

clean:
	rm -rf $(VENV) build *.egg-info demo-output .mypy_cache .ruff_cache .pytest_cache

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Python 3.11 or later is needed; name it: make PYTHON=python3.12 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(VENV)/bin/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test,train]'
	@touch $@
