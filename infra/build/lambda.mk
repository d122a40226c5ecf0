# SAM's makefile build calls build-<LogicalId> with ARTIFACTS_DIR set; infra/build/recipes.py says what goes in.
# PYTHON313 may name the interpreter that compiles bytecode; otherwise one is looked for on PATH. ARCHITECTURE and RUNTIME
# (a Python version) are for emulators, which run functions on this machine; otherwise they are the template's.

BUILD_PYTHON ?= $(if $(wildcard $(BIN)/python),$(BIN)/python,$(PYTHON))

build-ApiFunction:        FUNCTION := api
build-SchedulerFunction:  FUNCTION := scheduler
build-PrewarmFunction:    FUNCTION := prewarm
build-EvictFunction:      FUNCTION := evict
build-JobsFunction:       FUNCTION := jobs
build-FeedbackFunction:   FUNCTION := feedback
build-OptimizeFunction:   FUNCTION := optimize

WORKERS := Worker1769Function Worker3538Function Worker5307Function Worker10240Function IsolatedWorkerFunction
$(WORKERS:%=build-%): FUNCTION := worker

FUNCTIONS := $(WORKERS) ApiFunction SchedulerFunction PrewarmFunction EvictFunction JobsFunction FeedbackFunction OptimizeFunction

.PHONY: $(FUNCTIONS:%=build-%)
$(FUNCTIONS:%=build-%):
	$(BUILD_PYTHON) infra/build/build.py $(FUNCTION) --artifacts "$(ARTIFACTS_DIR)" \
		$(if $(PYTHON313),--interpreter "$(PYTHON313)") \
		$(if $(ARCHITECTURE),--architecture $(ARCHITECTURE)) $(if $(RUNTIME),--python $(RUNTIME))
