# Each target sets up .venv first where it is missing or older than the pins.
PYTHON ?= python3
SHELL := /bin/bash
BIN := .venv/bin
RUN := PATH="$(CURDIR)/$(BIN):$$PATH"
# the folders with the slowest tests first, so that both processes end at about the same time;
# FAST=1 leaves out the tests marked slow, see pyproject.toml
PYTEST := python -m pytest -n 2 --dist loadscope --no-loadscope-reorder $(if $(FAST),-m "not slow") \
	tests/stages tests/training tests/web tests

.PHONY: help repro sweep report serve test lint format docs bench hooks

help:
	@echo "make repro        run the pipeline, measure the student, print the scores"
	@echo "make sweep        run an experiment for each head and seed; HEADS='linear cnn3' SEEDS='0 1'"
	@echo "                  SET='distill.alpha=0,1 prune.amount=0.0,0.3' adds values of other params"
	@echo "make report       compare the students in report.html; REVS='main exp-1a2b3' names which"
	@echo "make serve        ask the student and its teachers in the browser"
	@echo "make test         run the tests; FAST=1 leaves out the slow ones"
	@echo "make lint         ruff, formatting and types"
	@echo "make format       format the code"
	@echo "make docs         write docs/parameters.md"
	@echo "make bench        run four benchmarks at a small size"
	@echo "make hooks        have git run 'make lint' before each commit"

repro: .venv/installed
	$(RUN) python -m dvc repro
	-$(RUN) python -m pipeline cost workspace --no-exports
	$(RUN) python -m pipeline show

sweep: .venv/installed
	$(RUN) python -m pipeline sweep $(if $(HEADS),--heads $(HEADS)) $(if $(SEEDS),--seeds $(SEEDS)) $(addprefix -S ,$(SET))

report: .venv/installed
	$(RUN) python -m pipeline report $(REVS)

serve: .venv/installed
	$(RUN) python -m pipeline serve data/student $(if $(wildcard data/teacher/large),--teacher data/teacher/large)

test: .venv/installed
	$(RUN) $(PYTEST)

lint: .venv/installed
	$(RUN) ruff check .
	$(RUN) ruff format --check .
	$(RUN) pyrefly check

format: .venv/installed
	$(RUN) ruff check --fix .
	$(RUN) ruff format .

docs: .venv/installed
	$(RUN) python -m pipeline.params > docs/parameters.md

bench: .venv/installed
	$(RUN) python -m benchmarks.store --windows 2000
	$(RUN) python -m benchmarks.extraction --shape minilm --windows 200 --peer-windows 50
	$(RUN) python -m benchmarks.training --shape minilm --train-size 200 --validation-size 50
	$(RUN) python -m benchmarks.serving --shape minilm --questions 32 --single 16 --teacher-questions 2

hooks:
	printf '#!/bin/sh\nexec make --silent lint\n' > "$$(git rev-parse --git-path hooks)/pre-commit"
	chmod +x "$$(git rev-parse --git-path hooks)/pre-commit"

.venv/installed: requirements.txt constraints.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed; make PYTHON=...")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -r requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@
