# The commands of this project. Each makes .venv first if it is missing or out of date (requirements/install.py).
# ARGS goes on to the command: make test ARGS="-k schema"

PYTHON := $(shell for python in python3 python3.11 python3.12 python3.10 python3.13; do \
	$$python -c '' 2>/dev/null && echo $$python && break; done)

.PHONY: help demo reproduce-mnist test test-slow install lint lock clean
.DEFAULT_GOAL := help

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## */make \1	/p' Makefile

demo: install  ## the whole pipeline on real handwritten digits, in minutes
	@.venv/bin/model-patching run demo $(ARGS)

reproduce-mnist: install  ## ERM, IRM, Group DRO and CAMEL on MNIST-Correlation, three seeds each: docs/results.md
	@.venv/bin/model-patching sweep mnist_correlation_erm_small mnist_correlation_irm_small \
		mnist_correlation_group_dro_small mnist_correlation_camel_small --seeds 2,3,4 $(ARGS)

test: install  ## the tests, but for the slow ones, in two processes
	@tests/install_chromium.sh
	@.venv/bin/python -m pytest --ignore=tests/slow -n 2 --dist loadfile $(ARGS)

test-slow: install  ## killed runs, Beam's runners, networks of full size, three subgroups: minutes
	@tests/install_chromium.sh
	@.venv/bin/python -m pytest tests/slow $(ARGS)

install:  ## .venv, from the lock that fits this machine
	@$(or $(PYTHON),$(error No Python found: install Python 3.10 or newer)) requirements/install.py

lint: install  ## ruff: rules and format
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .

lock: install  ## both locks again, keeping the pins that fit; ARGS=--upgrade takes the newest
	@.venv/bin/python requirements/lock.py $(ARGS)

clean:  ## build products and caches; keeps .venv and runs
	@rm -rf build dist *.egg-info .pytest_cache .ruff_cache
	@find components data pipelines requirements tests -name __pycache__ -prune -exec rm -rf {} +
