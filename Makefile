# Outlast: the commands. Each does all of its own set-up, in .venv* folders and system packages that are missing.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON := $(shell scripts/find-python oldest 2>/dev/null)
NEWEST := $(shell scripts/find-python newest 2>/dev/null)
DEMO ?=
BENCH ?=
PYTEST ?=
PROOFS ?=

.PHONY: help demo test types unit newest check proofs bench lock observe pictures clean

help:  ## what there is
	@grep -E '^[a-z]+:.*##' Makefile | sed -E 's/:.*##/\t/'

demo:  ## the order shop survives an outage (DEMO="--orders 2000 --outage 20", --stay keeps the page)
	@scripts/packages python-venv=python3-venv
	@scripts/environment .venv-demo "$$(scripts/find-python oldest)" requirements/demo.txt
	@.venv-demo/bin/python -m outlast.demo $(DEMO)

test:  ## everything on the oldest Python that is here, the core of it on the newest
	@scripts/packages python-venv=python3-venv strace=strace chromium=chromium git=git redis-server=redis-server memcached=memcached rabbitmq-server=rabbitmq-server openssl=openssl node=nodejs npm=npm promtool=prometheus
	@scripts/environment .venv "$$(scripts/find-python oldest)" requirements/dev.txt
	@scripts/servers redis-5.0 redis-6.2 valkey-9.1
	@scripts/node-clients
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	@$(MAKE) --no-print-directory -j 3 types unit newest
	.venv/bin/python -m pytest -n 6 --dist worksteal --ignore tests/unit $(PYTEST)
	@scripts/test-newest

# Parts of `test` that take one core each: they run at the same time.
types:
	.venv/bin/mypy
unit:
	.venv/bin/coverage run -m pytest tests/unit -q
	.venv/bin/coverage report
newest:
	@scripts/test-newest --prepare

check:  ## lint, types, contracts and the fast tests
	@scripts/packages python-venv=python3-venv redis-server=redis-server memcached=memcached rabbitmq-server=rabbitmq-server
	@scripts/environment .venv "$$(scripts/find-python oldest)" requirements/dev.txt
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy
	.venv/bin/python -m pytest -q tests/unit tests/conformance tests/architecture $(PYTEST)

proofs:  ## the long proofs: hundreds of kills, a million rows (PROOFS="survival rates" for some)
	@scripts/packages python-venv=python3-venv redis-server=redis-server memcached=memcached rabbitmq-server=rabbitmq-server
	@scripts/environment .venv "$$(scripts/find-python oldest)" requirements/dev.txt
	@scripts/proofs $(PROOFS)

bench:  ## Outlast beside the floor and its peers, into docs/ (BENCH="--quick", "--store rabbitmq", "--only toolkit")
	@scripts/packages python-venv=python3-venv redis-server=redis-server memcached=memcached rabbitmq-server=rabbitmq-server node=nodejs npm=npm
	@scripts/environment .venv "$$(scripts/find-python oldest)" requirements/dev.txt
	@scripts/servers redis-8.2
	.venv/bin/python -m benchmarks.run $(BENCH)

lock:  ## write requirements/*.txt anew, with hashes
	@scripts/packages node=nodejs npm=npm
	@scripts/environment .venv "$$(scripts/find-python oldest)" requirements/dev.txt
	@scripts/lock

observe:  ## write the rules and dashboards in the package anew, after a change of src/outlast/observe
	@scripts/environment .venv "$$(scripts/find-python oldest)" requirements/dev.txt
	.venv/bin/python -m outlast.observe.dashboards.build

pictures:  ## make the screenshots of the docs anew
	@scripts/packages chromium=chromium
	@scripts/environment .venv "$$(scripts/find-python oldest)" requirements/dev.txt
	.venv/bin/python docs/make_screenshots.py

clean:  ## remove what the commands made
	rm -rf .venv .venv-* .servers .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage dist
