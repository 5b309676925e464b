# Two commands do all of it: `make quickstart` and `make test`. The rest is what CI runs before them.
PYTHON ?= python3
BIN := .venv/bin
WORKERS ?= 2

.PHONY: quickstart test lint types contracts check benchmark clean

quickstart: .venv/ready
	$(BIN)/synthkit run quickstart

test: .venv/ready
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

check: lint types contracts

lint: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/ready
	$(BIN)/mypy

contracts: .venv/ready
	$(BIN)/lint-imports --no-cache

# Speed beside the peers: `make benchmark`, or `make benchmark ONLY=startup` for benchmarks/bench_startup.py.
ONLY ?= *
benchmark: .venv/ready
	$(BIN)/python -m pytest benchmarks/bench_$(ONLY).py -o addopts=--import-mode=importlib -o python_files='bench_*.py' -s

# Made anew when the dependencies or the entry points change; a second call re-uses it.
.venv/ready: pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v < (3, 15) else "synthkit needs Python 3.11 to 3.14, this is %d.%d: call make PYTHON=python3.11" % v)'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	$(BIN)/python -m compileall -q synthkit plugins # pip compiles what it copies, not what it links to
	touch $@

clean:
	rm -rf .venv dist build
