# The front door. Every target is one line: `make X` runs scripts/commands/X.py.
# Arguments (`make logs SERVICE=postgres`) travel through the environment, byte for byte; no recipe ever contains one.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --warn-undefined-variables --no-print-directory
.DEFAULT_GOAL := help

ARGUMENTS := SERVICE CONFIRM LINES FOLLOW TIER K PLATFORM TRUST ADOPT CHECK DIFF JSON BUNDLE FOR PYTHON_VERSION
$(foreach name,$(ARGUMENTS),$(eval override export $(name) := $$(value $(name))))

PYTHON := .venv/bin/python
RUN := $(PYTHON) -m scripts

.venv/ready: scripts/requirements.txt scripts/make_venv.py
	@python3 scripts/make_venv.py

##@ First steps

.PHONY: help
help: ## Show this list
	@awk 'BEGIN { FS = ":.*## " } /^##@ / { printf "\n%s\n", substr($$0, 5) } /^[a-z][a-z-]*:.*## / { printf "  %-15s %s\n", $$1, $$2 }' Makefile

.PHONY: up
up: .venv/ready ## Build, start and wait until everything is healthy
	@$(RUN) up

.PHONY: credentials
credentials: .venv/ready ## Show the address, the user and the password
	@$(RUN) credentials

.PHONY: connections
connections: .venv/ready ## Register what secrets.yaml describes (CHECK=yes, DIFF=yes)
	@$(RUN) connections

.PHONY: trust
trust: .venv/ready ## Pin the host keys of platforms (PLATFORM=id, TRUST=SHA256:...)
	@$(RUN) trust

.PHONY: check-platforms
check-platforms: .venv/ready ## Log in everywhere from where tasks run (PLATFORM=id)
	@$(RUN) check_platforms

.PHONY: engine
engine: .venv/ready ## Install Docker Engine, Compose and Buildx (CONFIRM=yes)
	@$(RUN) engine

##@ Daily use

.PHONY: status
status: .venv/ready ## Show each service, what is wrong and how to mend it
	@$(RUN) status

.PHONY: logs
logs: .venv/ready ## Follow the logs (SERVICE=..., LINES=200, FOLLOW=no)
	@$(RUN) logs

.PHONY: shell
shell: .venv/ready ## Open a shell with the airflow command
	@$(RUN) shell

.PHONY: restart
restart: .venv/ready ## Restart everything, or SERVICE=...
	@$(RUN) restart

.PHONY: down
down: .venv/ready ## Stop everything; nothing is lost
	@$(RUN) down

##@ Care

.PHONY: build
build: .venv/ready ## Build the images if an input has changed
	@$(RUN) build

.PHONY: service
service: .venv/ready ## Let it start by itself after a reboot
	@$(RUN) service

.PHONY: move-to-compose
move-to-compose: .venv/ready ## Carry connections and users to a new stack with Docker
	@$(RUN) move_to_compose

.PHONY: bundle
bundle: .venv/ready ## Write all of it into one file (FOR=compose or embedded)
	@$(RUN) bundle

.PHONY: load
load: ## Take up such a file, without a network (BUNDLE=file)
	@python3 scripts/make_venv.py load

.PHONY: clean
clean: .venv/ready ## Delete database, logs, secrets and images (CONFIRM=yes)
	@$(RUN) clean

##@ Development

.PHONY: test
test: .venv/ready ## Run every test tier this machine can (TIER=unit, K=expression)
	@$(RUN) test

.PHONY: lint
lint: .venv/ready ## Check style, types, Dockerfiles, shell and YAML
	@$(RUN) lint

.PHONY: schema
schema: .venv/ready ## Write the JSON schema of secrets.yaml, for editors
	@$(RUN) schema

.PHONY: lock
lock: .venv/ready ## Renew constraints.txt from packages.txt
	@$(RUN) lock

.PHONY: screenshots
screenshots: .venv/ready ## Take the pictures in docs/ from the running stack
	@$(RUN) screenshots

.PHONY: bench
bench: .venv/ready ## Measure a copy of the stack, and PEER=folder beside it
	@$(RUN) bench
