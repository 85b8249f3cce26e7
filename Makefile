# The commands of this project. Each makes .venv first if it is missing or out of date (requirements/install.py).
# ARGS goes on to the command: make test ARGS="-k schema"

PYTHON := $(shell for python in python3 python3.11 python3.12 python3.10 python3.13; do \
	$$python -c '' 2>/dev/null && echo $$python && break; done)

# Skipped in .venv.
KFP_TESTS := $(addprefix tests/pipelines/,kubeflow/test_compile.py kubeflow/test_client_cli.py vertex/test_compile.py)

.PHONY: help demo reproduce-mnist test test-kubeflow test-slow install kubeflow lint lock clean
.DEFAULT_GOAL := help

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## */make \1	/p' Makefile

demo: install  ## the whole pipeline on real handwritten digits, in minutes
	@.venv/bin/model-patching run demo $(ARGS)

reproduce-mnist: install  ## ERM, IRM, Group DRO and CAMEL on MNIST-Correlation, three seeds each: docs/results.md
	@.venv/bin/model-patching sweep mnist_correlation_erm_small mnist_correlation_irm_small \
		mnist_correlation_group_dro_small mnist_correlation_camel_small --seeds 2,3,4 $(ARGS)

test: install  ## the tests in both environments, but for the slow ones; with ARGS those that .venv runs
	@tests/install_chromium.sh
	@tests/install_mariadb.sh
	@.venv/bin/python -m pytest --ignore=tests/slow -n 2 --dist loadfile --no-loadscope-reorder $(ARGS)
	@$(if $(ARGS),,$(MAKE) --no-print-directory test-kubeflow)

test-kubeflow: kubeflow  ## those that need kfp, in .venv-kubeflow
	@.venv-kubeflow/bin/python -m pytest $(KFP_TESTS) -n 2 --dist loadfile $(ARGS)

test-slow: install kubeflow  ## killed runs, Beam's runners, networks of full size, Kubeflow's steps, the image: minutes
	@tests/install_chromium.sh
	@tests/install_mariadb.sh
	@tests/install_mmdebstrap.sh
	@.venv/bin/python -m pytest tests/slow $(ARGS)

install:  ## .venv, from the lock that fits this machine
	@$(or $(PYTHON),$(error No Python found: install Python 3.10 or newer)) requirements/install.py

kubeflow: install  ## .venv-kubeflow, the same with kfp: `model-patching kubeflow …`
	@$(PYTHON) requirements/install.py kubeflow

lint: install  ## ruff: rules and format; hadolint: the Dockerfile
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/hadolint Dockerfile

lock: install  ## the locks again, keeping the pins that fit; ARGS=--upgrade takes the newest
	@.venv/bin/python requirements/lock.py $(ARGS)

clean:  ## build products and caches; keeps .venv and runs
	@rm -rf build dist *.egg-info .pytest_cache .ruff_cache
	@find components data pipelines requirements tests -name __pycache__ -prune -exec rm -rf {} +
