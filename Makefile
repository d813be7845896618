# Two front doors, `make demo` and `make test`; everything behind them is a nox session.
# All that is installed goes into .venv; nothing outside this directory is touched.

PYTHON ?= $(firstword $(foreach p,python3 python3.13 python3.12 python3.11,$(if $(shell $(p) -c 'import sys; print("y" * (sys.version_info >= (3, 11)))' 2>/dev/null),$(p))))
VENV := .venv
NOX := PATH="$(CURDIR)/$(VENV)/bin:$$PATH" $(VENV)/bin/nox --no-venv --non-interactive -s

.PHONY: help demo test system lint types docs soak fuzz bench clean

help:
	@echo "make demo    five real daemons form a cluster, split, go on, heal (as root: with real packets)"
	@echo "make test    every test that this machine can run; the rest is skipped with the reason"
	@echo "make system  the system tests at full length (root)"
	@echo "make bench   figures beside other systems, ten minutes (BENCH=full: hours; as root: bytes too)"
	@echo "make lint | types | docs | soak | fuzz | clean"

$(VENV)/.ready: pyproject.toml constraints.txt
	@if [ -z "$(PYTHON)" ]; then \
	  echo "meshcrdt needs Python 3.11 or newer and found none (Debian: apt install python3 python3-venv)" >&2; exit 1; fi
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "$(PYTHON) has no venv module: install the package python3-venv" \
	       "(Debian and Ubuntu: apt install python3-venv)" >&2; exit 1; }
	@echo "Installing into $(VENV) (once) ..."
	@$(PYTHON) -m venv $(VENV)
	@$(VENV)/bin/python -m pip install -qq --disable-pip-version-check -c constraints.txt 'pip>=25.1'
	@$(VENV)/bin/python -m pip install -qq --disable-pip-version-check -c constraints.txt \
	  -e '.[daemon,testing]' --group test --group lint --group docs --group tasks
	@touch $@

demo: $(VENV)/.ready
	@$(VENV)/bin/python -m meshcrdt.daemon.demo

test: $(VENV)/.ready
	@$(NOX) lint types tests docs

system: $(VENV)/.ready
	@$(NOX) system

lint types docs soak fuzz: $(VENV)/.ready
	@$(NOX) $@

bench: $(VENV)/.ready
	@$(NOX) bench $(if $(filter full,$(BENCH)),-- --full)

clean:
	rm -rf $(VENV) .venv-peers .nox .hypothesis .mypy_cache .ruff_cache .pytest_cache .import_linter_cache docs/_build dist build
