# The front door. Every target is one line: `make X` runs scripts/commands/X.py.
# Arguments (`make logs SERVICE=postgres`) travel through the environment, byte for byte; no recipe ever contains one.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --warn-undefined-variables --no-print-directory
.DEFAULT_GOAL := help

ARGUMENTS := SERVICE CONFIRM LINES FOLLOW TIER K PLATFORM TRUST ADOPT CHECK DIFF JSON BUNDLE FOR PYTHON_VERSION
ARGUMENTS += DAG CONF WAIT UNPAUSE RUN TASK DOWN
$(foreach name,$(ARGUMENTS),$(eval override export $(name) := $$(value $(name))))

PYTHON := .venv/bin/python
COMMAND := $(PYTHON) -m scripts

.venv/ready: scripts/requirements.txt scripts/make_venv.py
	@python3 scripts/make_venv.py

##@ First steps

.PHONY: help
help: ## Show this list
	@awk 'BEGIN { FS = ":.*## " } /^##@ / { printf "\n%s\n", substr($$0, 5) } /^[a-z][a-z-]*:.*## / { printf "  %-15s %s\n", $$1, $$2 }' Makefile

.PHONY: up
up: .venv/ready ## Build, start and wait until everything is healthy
	@$(COMMAND) up

.PHONY: credentials
credentials: .venv/ready ## Show the address, the user and the password
	@$(COMMAND) credentials

.PHONY: connections
connections: .venv/ready ## Register what secrets.yaml describes (CHECK=yes, DIFF=yes)
	@$(COMMAND) connections

.PHONY: trust
trust: .venv/ready ## Pin the host keys of platforms (PLATFORM=id, TRUST=SHA256:...)
	@$(COMMAND) trust

.PHONY: check-platforms
check-platforms: .venv/ready ## Log in everywhere from where tasks run (PLATFORM=id)
	@$(COMMAND) check_platforms

.PHONY: demo
demo: .venv/ready ## Start a Slurm cluster to try things on (DOWN=yes ends it)
	@$(COMMAND) demo

.PHONY: engine
engine: .venv/ready ## Install Docker Engine, Compose and Buildx (CONFIRM=yes)
	@$(COMMAND) engine

##@ Daily use

.PHONY: status
status: .venv/ready ## Show each service, what is wrong and how to mend it
	@$(COMMAND) status

.PHONY: dags
dags: .venv/ready ## List the DAGs, when they run and how it went
	@$(COMMAND) dags

.PHONY: trigger
trigger: .venv/ready ## Start a run (DAG=id, CONF=json, @file or -, WAIT=1)
	@$(COMMAND) trigger

.PHONY: runs
runs: .venv/ready ## List the newest runs (DAG=id, LINES=20)
	@$(COMMAND) runs

.PHONY: dag-logs
dag-logs: .venv/ready ## Show what a run's tasks logged (DAG=id, RUN=id, TASK=id)
	@$(COMMAND) dag_logs

.PHONY: logs
logs: .venv/ready ## Follow the logs (SERVICE=..., LINES=200, FOLLOW=no)
	@$(COMMAND) logs

.PHONY: shell
shell: .venv/ready ## Open a shell with the airflow command
	@$(COMMAND) shell

.PHONY: restart
restart: .venv/ready ## Restart everything, or SERVICE=...
	@$(COMMAND) restart

.PHONY: down
down: .venv/ready ## Stop everything; nothing is lost
	@$(COMMAND) down

##@ Care

.PHONY: build
build: .venv/ready ## Build the images if an input has changed
	@$(COMMAND) build

.PHONY: service
service: .venv/ready ## Let it start by itself after a reboot
	@$(COMMAND) service

.PHONY: move-to-compose
move-to-compose: .venv/ready ## Carry connections and users to a new stack with Docker
	@$(COMMAND) move_to_compose

.PHONY: bundle
bundle: .venv/ready ## Write all of it into one file (FOR=compose or embedded)
	@$(COMMAND) bundle

.PHONY: load
load: ## Take up such a file, without a network (BUNDLE=file)
	@python3 scripts/make_venv.py load

.PHONY: clean
clean: .venv/ready ## Delete database, logs, secrets and images (CONFIRM=yes)
	@$(COMMAND) clean

##@ Development

.PHONY: test-dags
test-dags: .venv/ready ## Say what is wrong with your DAGs before Airflow does
	@$(COMMAND) test_dags

.PHONY: test
test: .venv/ready ## Run every test tier this machine can (TIER=unit, K=expression)
	@$(COMMAND) test

.PHONY: lint
lint: .venv/ready ## Check style, types, Dockerfiles, shell and YAML
	@$(COMMAND) lint

.PHONY: schema
schema: .venv/ready ## Write the JSON schema of secrets.yaml, for editors
	@$(COMMAND) schema

.PHONY: lock
lock: .venv/ready ## Renew constraints.txt from packages.txt
	@$(COMMAND) lock

.PHONY: screenshots
screenshots: .venv/ready ## Take the pictures in docs/ from the running stack
	@$(COMMAND) screenshots

.PHONY: chaos
chaos: .venv/ready ## Kill everything around fifty running Slurm jobs, in turn
	@$(COMMAND) chaos

.PHONY: bench
bench: .venv/ready ## Measure a copy of the stack, and PEER=folder beside it
	@$(COMMAND) bench
