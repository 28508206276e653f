# Two commands for a fresh machine: `make demo` and `make test`. Both build what they need first.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
THIRD_PARTY := .third_party

.PHONY: demo test lint types layers unit bench third-party clean

demo: $(STAMP)
	$(BIN)/python examples/research_assistant/main.py

test: lint types layers unit

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/pyright

layers: $(STAMP)
	$(BIN)/lint-imports

unit: $(STAMP) third-party
	$(BIN)/coverage erase
	$(BIN)/python -m pytest -n 2 --dist loadscope --cov --cov-report=term $(ARGS)

bench: $(STAMP)
	$(BIN)/python benchmarks/warm_call.py
	$(BIN)/python benchmarks/cold_open.py
	$(BIN)/python benchmarks/cli_call.py
	$(BIN)/python benchmarks/recovery.py
	$(BIN)/python benchmarks/cli.py
	$(BIN)/python benchmarks/soak.py
	$(BIN)/python benchmarks/routing/evaluate.py --embedder --peers

third-party: $(STAMP)
	PATH="$(CURDIR)/$(BIN):$$PATH" PYTHON="$(CURDIR)/$(BIN)/python" bash tests/third_party/install.sh "$(THIRD_PARTY)"

$(STAMP): pyproject.toml constraints.txt scripts/environment.sh
	PYTHON="$(PYTHON)" bash scripts/environment.sh $(VENV)
	touch $@

clean:
	rm -rf $(VENV) $(THIRD_PARTY) .coverage* .pytest_cache .ruff_cache .hypothesis
