# Each target makes the environment that it needs, once: make, python3 and pip
# suffice.

PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
OLDEST := .venv-oldest
PEERS := .venv-peers

.PHONY: help demo test test-oldest lint format bench peers tutorials clean

help:
	@echo "make demo         train, compare, export and query a language model"
	@echo "make test         run all tests"
	@echo "make test-oldest  the same on the lowest versions that are allowed"
	@echo "make lint         check style"
	@echo "make format       mend style"
	@echo "make bench        measure speed beside peers"
	@echo "make peers        install what is compared with, record it again"
	@echo "make tutorials    run the notebooks at full size and save them"
	@echo "make clean        remove what was installed and built"

# Installed again when these have changed, whatever a checkout does to times.
READY := .ready-$(firstword $(shell cat setup.cfg pyproject.toml | cksum))

# `venv` without pip, filled by the pip outside: Debian's python3 has no pip
# to put inside.
$(VENV)/$(READY):
	$(PYTHON) -m venv --without-pip $(VENV)
	$(PYTHON) -m pip --python $(RUN) install --quiet --editable ".[dev]"
	@rm -f $(VENV)/.ready-*
	@touch $@

$(OLDEST)/$(READY):
	$(PYTHON) -m venv --without-pip $(OLDEST)
	$(PYTHON) tests/oldest.py > $(OLDEST)/constraints.txt
	$(PYTHON) -m pip --python $(OLDEST)/bin/python install --quiet \
	  --editable ".[dev]" --constraint $(OLDEST)/constraints.txt
	@rm -f $(OLDEST)/.ready-*
	@touch $@

# An environment for each file of pinned requirements.
PEERS_READY := $(foreach file,$(wildcard benchmarks/peers/*.txt), \
  $(PEERS)/$(basename $(notdir $(file)))/.ready-$(firstword \
  $(shell cksum < $(file))))

$(PEERS_READY):
	$(PYTHON) -m venv --without-pip $(@D)
	$(PYTHON) -m pip --python $(@D)/bin/python install --quiet \
	  --requirement benchmarks/peers/$(notdir $(@D)).txt
	@rm -f $(@D)/.ready-*
	@touch $@

# TensorFlow tells at each start which GPU it did not find.
demo: export TF_CPP_MIN_LOG_LEVEL := 3
demo: $(VENV)/$(READY)
	$(RUN) -m apps.language_model.train \
	  --flagfile=apps/language_model/demo.flags
	$(RUN) -m apps.language_model.report --run_dir=runs/demo
	$(RUN) -m export.saved_model --run_dir=runs/demo \
	  --export_dir=served/demo --max_new_tokens=100
	$(RUN) -m export.complete --saved_model=served/demo/text \
	  --without=keras_xf --temperature=0.7 \
	  --prompt="import " --prompt="def __init__(self, " --prompt="    for "

# A process a core, each of up to 4 GiB. The tests of a file share what they make,
# and files come in order: those of the programs, which take longest, first.
PYTEST := -m pytest --numprocesses=auto --maxprocesses=4 --dist=loadfile \
  --no-loadscope-reorder
# Processes keep what TensorFlow has traced in them, in the end more than there is
# room for. So there are three runs, the last of all that is in none before it.
FIRST_TESTS := $(addprefix tests/,apps benchmarks callbacks conformance)
NEXT_TESTS := $(addprefix tests/,layers local_server losses metrics models)
LAST_TESTS := $(addprefix --ignore=,$(FIRST_TESTS) $(NEXT_TESTS))
define run_tests
	failed=0; \
	$(1) $(PYTEST) $(FIRST_TESTS) || failed=1; \
	$(1) $(PYTEST) $(NEXT_TESTS) || failed=1; \
	$(1) $(PYTEST) $(LAST_TESTS) || failed=1; \
	exit $$failed
endef

test: $(VENV)/$(READY)
	$(call run_tests,$(RUN))

test-oldest: $(OLDEST)/$(READY)
	$(call run_tests,$(OLDEST)/bin/python)

lint: $(VENV)/$(READY)
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .

format: $(VENV)/$(READY)
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

bench: $(VENV)/$(READY) $(PEERS_READY)
	$(RUN) -m benchmarks.run --cases=training_step,training_step_base \
	  --cases=generation,generation_batch,generation_512,generation_base

peers: $(VENV)/$(READY) $(PEERS_READY)
	$(RUN) -m benchmarks.peers.recordings

tutorials: $(VENV)/$(READY)
	$(RUN) tutorials/execute.py

clean:
	rm -rf $(VENV) $(OLDEST) $(PEERS) build dist keras_xf.egg-info
