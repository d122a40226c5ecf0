# SAM's makefile build calls build-<LogicalId> with ARTIFACTS_DIR set; infra/build/recipes.py says what goes in.
# PYTHON313 may name the interpreter that compiles bytecode; otherwise one is looked for on PATH.

BUILD_PYTHON ?= $(if $(wildcard $(BIN)/python),$(BIN)/python,$(PYTHON))

build-ApiFunction:        FUNCTION := api
build-SchedulerFunction:  FUNCTION := scheduler
build-PrewarmFunction:    FUNCTION := prewarm
build-EvictFunction:      FUNCTION := evict
build-Worker1769Function: FUNCTION := worker
build-Worker3538Function: FUNCTION := worker

FUNCTIONS := ApiFunction SchedulerFunction PrewarmFunction EvictFunction Worker1769Function Worker3538Function

.PHONY: $(FUNCTIONS:%=build-%)
$(FUNCTIONS:%=build-%):
	$(BUILD_PYTHON) infra/build/build.py $(FUNCTION) --artifacts "$(ARTIFACTS_DIR)" \
		$(if $(PYTHON313),--interpreter "$(PYTHON313)")
