# Two commands for a fresh machine: `make demo` and `make test`. Both build what they need first.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
THIRD_PARTY := .third_party
PEERS := .peers

.PHONY: demo test lint types layers unit docs bench soak third-party ag2-classic peers clean

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

docs: $(STAMP)
	$(BIN)/python -m scripts.docs.diagrams
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict
	@echo "Open site/index.html, or for its search: python3 -m http.server -d site"

# All of docs/benchmarks.md: installs what is compared with (the first time), measures, writes.
bench: $(STAMP)
	PYTHON="$(CURDIR)/$(BIN)/python" bash benchmarks/peers/install.sh "$(PEERS)"
	$(BIN)/python -m benchmarks --peers "$(PEERS)" $(ARGS)

soak: $(STAMP)
	$(BIN)/python benchmarks/soak.py $(ARGS)

third-party: $(STAMP)
	bash scripts/services.sh
	PATH="$(CURDIR)/$(BIN):$$PATH" PYTHON="$(CURDIR)/$(BIN)/python" bash tests/third_party/install.sh "$(THIRD_PARTY)"

# Part of `unit`, too; here it is seen at work.
ag2-classic: third-party
	bash tests/adapters/ag2_classic/run.sh $(ARGS)

peers: $(STAMP)
	PYTHON="$(CURDIR)/$(BIN)/python" bash benchmarks/peers/install.sh "$(PEERS)"
	$(BIN)/python benchmarks/peers/before.py "$(PEERS)"
	$(BIN)/python benchmarks/peers/run.py "$(PEERS)" $(ARGS)

$(STAMP): pyproject.toml constraints.txt scripts/environment.sh
	PYTHON="$(PYTHON)" bash scripts/environment.sh $(VENV)
	touch $@

clean:
	rm -rf $(VENV) $(THIRD_PARTY) $(PEERS) site .coverage* .pytest_cache .ruff_cache .hypothesis
