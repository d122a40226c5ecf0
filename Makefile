# Everything a checkout needs; `make help` lists the targets.

VENV    ?= .venv
SAM     ?= .venv-sam
MINISTACK ?= .venv-ministack
AUDIT   ?= .venv-audit
LOCALSTACK ?= .venv-localstack
BIN     := $(VENV)/bin
# The first interpreter that is 3.11 to 3.13 and really runs (a pyenv shim may be on PATH and refuse).
PYTHON  ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import ensurepip, sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && echo $$p && break; done)
ARGS    ?=
NAME    ?= decision
REPORT  ?=
SOAK_SECONDS ?= 120

TEMPLATES := template.yaml $(wildcard infra/*.yaml)

export PIP_DISABLE_PIP_VERSION_CHECK := 1
export SAM_CLI_TELEMETRY := 0
export AWS_DEFAULT_REGION ?= us-east-1

.DEFAULT_GOAL := help
.PHONY: help setup demo test check bench soak build aws-test iam-test here localstack clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(firstword $(MAKEFILE_LIST)) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

setup: $(VENV)/.installed ## Make .venv with everything that serving, testing and measuring need

demo: $(VENV)/.installed ## Register digits, serve it, and show what is chosen for different SLOs
	@$(BIN)/modelless demo $(ARGS)

test: $(VENV)/.installed ## Run every test but the two-minute soak
ifeq ($(ARGS),)
	@# Tests that start no process take both cores; those that do have them to themselves.
	@failed=0; \
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile tests/unit tests/property tests/contract tests/template \
		|| failed=1; \
	$(BIN)/python -m pytest -m "not soak" tests/integration tests/e2e || failed=1; \
	exit $$failed
else
	$(BIN)/python -m pytest -m "not soak and not localstack and not aws and not iam" $(ARGS)
endif

check: $(VENV)/.installed $(SAM)/.installed $(AUDIT)/.installed ## Lint, types, layers, templates, advisories
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	cd infra/build && $(abspath $(BIN))/mypy --strict build.py
	cd infra/check && $(abspath $(BIN))/mypy --strict audit.py
	MYPYPATH=infra/localstack:infra/build $(BIN)/mypy --package modelless_localstack --module smoke --package infra.rehearsal
	$(BIN)/lint-imports
	$(BIN)/cfn-lint $(TEMPLATES)
	$(SAM)/bin/sam validate --lint --template template.yaml
	$(AUDIT)/bin/checkov --config-file .checkov.yaml $(TEMPLATES:%=--file %)
	$(BIN)/python infra/check/audit.py --pip-audit $(AUDIT)/bin/pip-audit infra/build/requirements/*.txt infra/container/constraints.txt

bench: $(VENV)/.installed ## Run one benchmark: make bench NAME=decision ARGS=--quick
	$(BIN)/python -m benchmarks.$(NAME) $(ARGS)

build: $(SAM)/.installed ## Build every Lambda function's artefact into .aws-sam/build
	$(SAM)/bin/sam build

aws-test: $(VENV)/.installed $(MINISTACK)/.installed here ## Run the built artefacts as Lambda does, over an emulator's account
	MINISTACK=$(MINISTACK) $(BIN)/python -m pytest tests/aws $(ARGS)

iam-test: $(VENV)/.installed $(MINISTACK)/.installed here ## Do everything under the template's roles, then without one permission at a time; REPORT=FILE
	MINISTACK=$(MINISTACK) MODELLESS_IAM_REPORT=$(REPORT) $(BIN)/python -m pytest tests/iam $(ARGS)

# Every function's artefact for this machine and this Python.
here: $(VENV)/.installed
	@rm -rf .aws-sam/here
	@for function in $(notdir $(patsubst %/app.py,%,$(wildcard functions/*/app.py))); do \
		$(BIN)/python infra/build/build.py $$function --artifacts .aws-sam/here/$$function --here || exit 1; done

soak: $(VENV)/.installed ## Serve for two minutes while an environment is killed every five seconds
	MODELLESS_SOAK_SECONDS=$(SOAK_SECONDS) $(BIN)/python -m pytest -m soak tests/e2e $(ARGS)

localstack: $(VENV)/.installed $(SAM)/.installed $(if $(ENDPOINT),,$(LOCALSTACK)/.installed) ## Deploy to LocalStack, no Docker needed, and ask it; ENDPOINT=URL for one that runs
	PYTHONPATH=infra/build $(BIN)/python infra/localstack/smoke.py --sam $(abspath $(SAM))/bin/sam \
		--environment $(abspath $(LOCALSTACK)) $(if $(ENDPOINT),--endpoint "$(ENDPOINT)") $(ARGS)

clean: ## Remove what the other targets made, environments included
	rm -rf $(VENV) $(SAM) $(AUDIT) $(MINISTACK) $(LOCALSTACK) .aws-sam .cache .modelless build dist .pytest_cache .mypy_cache .ruff_cache \
		.hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.installed: pyproject.toml
	@test -n "$(PYTHON)" || { echo "Modelless needs Python 3.11, 3.12 or 3.13 with venv; set PYTHON=/path/to/python" >&2; exit 1; }
	@echo "Installing into $(VENV) (about a minute) ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install -qq --editable '.[dev]'
	@touch $@

# SAM pins its own versions of half the world, so it lives alone.
$(SAM)/.installed:
	@echo "Installing SAM into $(SAM) (about a minute) ..."
	@test -x $(SAM)/bin/python || $(PYTHON) -m venv $(SAM)
	@$(SAM)/bin/python -m pip install -qq 'aws-sam-cli>=1.160,<2'
	@touch $@

# checkov too, and pip-audit gets on with what it pins.
$(AUDIT)/.installed:
	@echo "Installing checkov and pip-audit into $(AUDIT) (about a minute) ..."
	@test -x $(AUDIT)/bin/python || $(PYTHON) -m venv $(AUDIT)
	@$(AUDIT)/bin/python -m pip install -qq 'checkov==3.3.30' 'pip-audit==2.10.1'
	@touch $@

# An emulator of other people's: pinned, and beside everything else.
$(MINISTACK)/.installed:
	@echo "Installing an emulator into $(MINISTACK) ..."
	@test -x $(MINISTACK)/bin/python || $(PYTHON) -m venv $(MINISTACK)
	@$(MINISTACK)/bin/python -m pip install -qq 'ministack==1.5.33' 'cryptography==50.0.2'
	@touch $@

# LocalStack pins its own versions of the other half.
$(LOCALSTACK)/.installed: infra/localstack/pyproject.toml
	@echo "Installing LocalStack into $(LOCALSTACK) (about two minutes) ..."
	@test -x $(LOCALSTACK)/bin/python || $(PYTHON) -m venv $(LOCALSTACK)
	@$(LOCALSTACK)/bin/python -m pip install -qq --editable infra/localstack
	@touch $@

# What `sam build` calls, one target per function.
include infra/build/lambda.mk
