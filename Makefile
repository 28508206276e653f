# Two commands for a fresh machine: `make demo` and `make test`. Both build what they need first.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
THIRD_PARTY := .third_party
# What is compiled once is not compiled again by each worker of the tests.
unexport PYTHONDONTWRITEBYTECODE
PEERS := .peers
COMPARED := .compared

.PHONY: demo serve-demo deploy-check test whole costs lint types layers walks unit branches docs site-check bench routing soak fuzz fuzz-secrets mutants third-party ag2-classic \
	conformance gateway-conformance serving-matrix gateway-matrix gateway-rows peers comparison dist \
	bare lowest extras release-check constraints clean

demo: $(STAMP)
	$(BIN)/python examples/research_assistant/main.py

# Two instances behind a load balancer, one of them killed: docs/serving.md. Needs a Redis of its own, and no account.
serve-demo: $(STAMP)
	$(BIN)/python examples/serving/demo/main.py $(ARGS)

# The processes of examples/deploy/compose.yaml on this machine, with calls while each instance is stopped and started.
deploy-check: $(STAMP)
	$(BIN)/python examples/deploy/try_here.py --check

test: lint types layers walks bare unit

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/ruff format --check --line-length 88 README.md

types: $(STAMP)
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/pyright
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/pyright --verifytypes jackfield --ignoreexternal

layers: $(STAMP)
	$(BIN)/lint-imports

# Through how many files a call, an opening, a loss and an entry of a configuration lead; ARGS=--files names them.
walks: $(STAMP)
	$(BIN)/python scripts/walks.py $(ARGS)

unit: $(STAMP) third-party
	$(BIN)/python -m pytest --workers 5 $(ARGS)

# Those tests whole of which `unit` has a part.
whole: export JACKFIELD_TESTS := whole
whole: unit

# What tests cost in CPU time, which a busy machine hardly changes: all of them, or those that ARGS names.
costs: $(STAMP) third-party
	$(BIN)/python -m scripts.costs $(BIN)/python -m pytest -p scripts.costs --workers 5 $(ARGS)

# The tests again, half as long once more, since each line is noted; then which share of the branches they took.
branches: $(STAMP) third-party
	$(BIN)/coverage erase
	$(BIN)/python -m pytest --workers 5 --cov --cov-report=term $(ARGS)
	$(BIN)/python scripts/branches.py

docs: $(STAMP)
	$(BIN)/python -m scripts.docs.diagrams
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict
	@echo "Open site/index.html, or for its search: python3 -m http.server -d site"

# Every page of the site, in Chromium, as wide as a laptop and as a phone; those with the widest things are in `unit`.
site-check: export JACKFIELD_TESTS := whole
site-check: $(STAMP)
	$(BIN)/python -m pytest tests/docs/test_site.py $(ARGS)

# All of docs/benchmarks.md: installs what is compared with (the first time), measures, writes.
bench: $(STAMP)
	PYTHON="$(CURDIR)/$(BIN)/python" bash benchmarks/peers/install.sh "$(PEERS)"
	$(BIN)/python -m benchmarks --peers "$(PEERS)" $(ARGS)

# How well tools are found, training and validation side by side, and what each part of the ranking adds; seconds.
routing: $(STAMP)
	$(BIN)/python -m benchmarks.routing.ablation $(ARGS)

soak: $(STAMP)
	$(BIN)/python benchmarks/soak.py $(ARGS)

# Random faults while calls are made, with the executions counted at the server; all of it takes half an hour.
fuzz: $(STAMP)
	$(BIN)/python -m benchmarks.fuzz $(ARGS)

# Secrets in what comes out, whichever way a server fails; all of it takes a quarter of an hour.
fuzz-secrets: $(STAMP)
	$(BIN)/python -m benchmarks.fuzz_secrets $(ARGS)

# Changes the code that decides, a little at a time, and looks whether its tests notice.
mutants: $(STAMP)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --group mutants
	$(BIN)/python scripts/mutants.py --max-children 2 $(ARGS)

third-party: $(STAMP)
	bash scripts/services.sh
	PATH="$(CURDIR)/$(BIN):$$PATH" PYTHON="$(CURDIR)/$(BIN)/python" bash tests/third_party/install.sh "$(THIRD_PARTY)"

# Part of `unit`, too; here it is seen at work.
ag2-classic: third-party
	bash tests/adapters/ag2_classic/run.sh $(ARGS)

# The official conformance tests of clients, every scenario of both releases pinned, and of servers; some minutes.
# Where ARGS names scenarios of clients, only these.
conformance: third-party
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m tests.conformance.runner $(ARGS)
	$(if $(filter-out --write,$(ARGS)),,PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m tests.conformance.served $(ARGS))

# The same tests of servers at `jackfield serve`: what passes at a server passes at the gateway in front of it.
gateway-conformance: third-party
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m tests.conformance.gateway $(ARGS)

# Instances of a served server are killed, stalled and restarted while clients call; a tenth of it is in `unit`.
serving-matrix: $(STAMP)
	bash scripts/services.sh
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m tests.serving.cluster.kills $(ARGS)
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m tests.serving.cluster.rolling

# 100 users of two instances of a gateway make 1,000 calls of ten servers while instances are killed; a part is in `unit`.
gateway-matrix: $(STAMP)
	bash scripts/services.sh
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m tests.gateway.matrix $(ARGS)

# Kills under each kind of call, rolling restarts, notifications after kills, and 10,000 sessions opened and ended, at two
# instances of a gateway; a round of it is in `unit`.
gateway-rows: $(STAMP)
	bash scripts/services.sh
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m tests.gateway.rows $(ARGS)

peers: $(STAMP)
	PYTHON="$(CURDIR)/$(BIN)/python" bash benchmarks/peers/install.sh "$(PEERS)"
	$(BIN)/python benchmarks/peers/before.py "$(PEERS)"
	$(BIN)/python benchmarks/peers/run.py "$(PEERS)" $(ARGS)

# What this command and others do with the same tasks: docs/compare.md. ARGS=--write writes the page; some minutes.
comparison: $(STAMP)
	PYTHON="$(CURDIR)/$(BIN)/python" bash benchmarks/comparison/install.sh "$(COMPARED)"
	$(BIN)/python -m benchmarks.comparison "$(COMPARED)" $(ARGS)

# Wheel and sdist, the same bytes for everyone.
dist: $(STAMP)
	bash scripts/release/build.sh "$(CURDIR)/$(BIN)/python" dist

# The wheel without extras, with the lowest versions: the part of `make extras` and `make lowest` that `make test` has.
bare: dist
	PATH="$(CURDIR)/$(BIN):$$PATH" EXTRAS=none bash scripts/release/extras.sh $(PYTHON) constraints-lowest.txt

# The quick part of the tests, with the lowest versions that pyproject.toml allows.
lowest: dist
	PATH="$(CURDIR)/$(BIN):$$PATH" bash scripts/release/suite.sh $(PYTHON) constraints-lowest.txt

# Each extra alone, with the newest versions.
extras: dist
	PATH="$(CURDIR)/$(BIN):$$PATH" bash scripts/release/extras.sh $(PYTHON) constraints.txt

# What a release needs beside `make test`: every Python at hand, with the lowest and with the newest versions.
release-check: dist
	PATH="$(CURDIR)/$(BIN):$$PATH" bash scripts/release/check.sh $(PYTHONS)

constraints: $(STAMP)
	PATH="$(CURDIR)/$(BIN):$$PATH" bash scripts/release/constraints.sh $(ARGS)

$(STAMP): pyproject.toml constraints.txt scripts/environment.sh
	PYTHON="$(PYTHON)" bash scripts/environment.sh $(VENV)
	touch $@

clean:
	rm -rf $(VENV) $(THIRD_PARTY) $(PEERS) $(COMPARED) mutants dist site .coverage* .pytest_cache .ruff_cache .hypothesis
