# Everything a person or CI does with this project; `make help` lists it.
.DEFAULT_GOAL := help
SHELL := /bin/bash
BIN := .venv/bin
GOLDENS ?= ../shared/goldens
COMPOSE ?= docker compose
# Threads that wait by spinning take the cores from those they wait for: on a busy machine, a render took three times as long.
export OMP_WAIT_POLICY ?= PASSIVE

.PHONY: help setup demo test lint types bench chaos fuzz golden lock init up down backup restore

help: ## list the targets
	@sed -nE 's/^([a-z]+):[^#]*## (.*)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

setup: ## prepare this machine: system packages and .venv/ with CPU torch
	@scripts/setup.sh

demo: setup ## dub a sample clip through the API; leaves out/dubbed.mp4
	$(BIN)/highsync demo

# One test process keeps one core busy: more threads would only wait for each other. End-to-end tests mostly wait.
test: export OMP_NUM_THREADS ?= 1
test: lint types ## lint, types, layers, unit and end-to-end tests; CI (.ci/run) runs this, then a step of the goldens and the demo
	$(BIN)/pytest -m "not e2e and not gpu" --numprocesses 2
	$(BIN)/pytest -m "e2e and not gpu" --numprocesses 3 --dist loadfile

lint: setup ## ruff, its formatting, and the import layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: setup ## mypy --strict
	$(BIN)/mypy

bench: setup ## time, FLOPs and memory per output frame; ARGS="--help" lists the choices
	$(BIN)/python benchmarks/render.py $(ARGS)

chaos: setup ## 200 jobs through five minutes of kills and outages; ARGS="--seed 7"
	$(BIN)/python -m tests.chaos $(ARGS)

fuzz: export OMP_NUM_THREADS ?= 1
fuzz: setup ## dub 300 broken media files and count how they end; ARGS="--files 50 --seed 7"
	$(BIN)/python -m tests.fuzz_media $(ARGS)

golden: setup ## compare with the published model's numbers; GOLDENS=folder, ARGS="--only step"
	$(BIN)/python -m model.parity $(GOLDENS) $(ARGS)

lock: ## pin the dependencies anew: requirements/*.lock
	@scripts/lock.sh

init: ## make .env with fresh secrets for the studio stack
	@scripts/init.sh

up: | .env ## start the studio stack; on a machine without a GPU see docs/install.md
	$(COMPOSE) up --detach --build

down: ## stop the studio stack; its data stays
	$(COMPOSE) down

backup: ## back the studio stack up while it runs; ARGS="/mnt/backups/monday"
	@COMPOSE="$(COMPOSE)" scripts/backup.sh $(ARGS)

restore: ## bring a backup into an empty studio stack; ARGS="/mnt/backups/monday", FORCE=1 removes what is there
	@COMPOSE="$(COMPOSE)" FORCE="$(FORCE)" scripts/restore.sh $(ARGS)

.env:
	@scripts/init.sh
