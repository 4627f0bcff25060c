# Each target sets up .venv first where it is missing or older than the pins.
PYTHON ?= python3
SHELL := /bin/bash
BIN := .venv/bin
RUN := PATH="$(CURDIR)/$(BIN):$$PATH"

.PHONY: repro test lint format

repro: .venv/installed
	$(RUN) python -m dvc repro
	$(RUN) python -m pipeline.commands.show

test: .venv/installed
	$(RUN) python -m pytest

lint: .venv/installed
	$(RUN) ruff check .
	$(RUN) ruff format --check .

format: .venv/installed
	$(RUN) ruff check --fix .
	$(RUN) ruff format .

.venv/installed: requirements.txt constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed; make PYTHON=...")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -r requirements.txt
	touch $@
