# Two targets do everything: `make demo` and `make test`. Each makes .venv by itself.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed

TEST_PROCESSES ?= 2
PROFILE ?= cpu
MODELS ?= models

.PHONY: demo test lint benchmark models clean
demo: $(STAMP)
	$(BIN)/abbc-demo -o demo

# Two processes, one thread each, a test file in one of them, files with slow tests first: 2 cores are what the tests
# are made for.
test: lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Hours: the two models that ship, from nothing. It resumes. PROFILE=gpu for a graphics card; ANATOMIES="DIR ..." adds
# bones of your own; more by abbc-train-models itself.
models: $(STAMP)
	$(BIN)/abbc-train-models -o $(MODELS) --profile $(PROFILE) $(if $(ANATOMIES),--anatomies $(ANATOMIES))

benchmark: $(STAMP)
	$(BIN)/python -m tests.benchmarks

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed, '$(PYTHON)' is $$($(PYTHON) -V 2>&1). Say which: make PYTHON=python3.12 ..."; exit 2; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[test]'
	@touch $@

clean:
	rm -rf .venv demo dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis
