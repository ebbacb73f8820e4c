# SPDX-License-Identifier: GPL-2.0-only
LAB = .venv/bin/lab
PYTEST = .venv/bin/python -m pytest
# Twice as many workers as cores: many tests wait for a deadline, a process or a console.
BESIDE = -n $(shell expr 2 '*' $$(nproc))

.PHONY: help run setup test lint unit slow guest fuzz lock test-latest bench proof-evidence proof-detection proof-clean \
	proof-mm-ci proof-judging proof-coverage proof-tested proof-explore chaos soak

help:
	@echo 'make run    set up, then the main job: profile smoke on x86_64 and arm64'
	@echo 'make test   set up, then lint, unit tests, and the end-to-end test in real guests'
	@echo 'make setup  .venv and system packages;  make lint, unit, slow, guest: parts of test'
	@echo 'make fuzz   fuzz the parsers, a minute each; BUDGET=600, TARGETS="klog mbox"'
	@echo 'make lock   renew requirements.lock;  make test-latest: lint, unit with the newest releases'
	@echo 'make chaos  kill, fill and damage what runs of the lab stand on; CHAOS_BUDGET=1800: seconds'
	@echo 'make soak   200 runs in a row: does memory, disk or what is left grow; SOAK_BUDGET=3600: seconds'
	@echo 'make bench  the figures of docs/figures.md, against the bare commands; ONLY=edit-loop: one'

run: setup
	$(LAB) run -p smoke

setup:
	@tools/setup.sh

test: lint unit slow guest

lint: setup
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

unit: setup
	$(PYTEST) -q $(BESIDE) --dist worksteal -m 'not guest and not slow'

# Time and memory against the input's size, all programs compiled, all logs mutated, and the
# properties anew with many examples.
slow: setup
	HYPOTHESIS_PROFILE=ci $(PYTEST) -q $(BESIDE) --dist worksteal -m 'not guest and (slow or hypothesis)'

guest: setup
	$(PYTEST) -q -m guest --durations=0 tests/e2e

# BUDGET: seconds for each target; TARGETS: names of docs/fuzzing.md, all without it.
BUDGET = 60
TARGETS =
fuzz: setup
	@test -d .fuzz/lib/atheris || .venv/bin/python -m pip install -q --disable-pip-version-check \
		--target .fuzz/lib "$$(.venv/bin/python tests/fuzz/run_fuzz.py --needs)"
	.venv/bin/python tests/fuzz/run_fuzz.py --seconds $(BUDGET) $(TARGETS)

lock:
	@tools/lock.sh

test-latest:
	@tools/latest.sh

proof-evidence: setup
	.venv/bin/python tools/proof_evidence.py --write

proof-clean: setup
	.venv/bin/python tools/proof_clean.py --write

proof-mm-ci: setup
	.venv/bin/python tools/proof_mm_ci.py --write

proof-judging: setup
	.venv/bin/python tools/proof_judging.py --write

proof-coverage: setup
	.venv/bin/python tools/proof_coverage.py --write

proof-tested: setup
	.venv/bin/python tools/proof_tested.py --write
	.venv/bin/python tools/first_answer.py --write

proof-explore: setup
	.venv/bin/python tools/proof_explore.py --write

proof-detection: setup
	.venv/bin/python tools/proof_detection.py --write

# CHAOS_BUDGET: begin nothing after so many seconds; what is done is kept.
CHAOS_BUDGET =
chaos: setup
	.venv/bin/python tools/chaos.py --write $(addprefix --budget ,$(CHAOS_BUDGET))

# SOAK_BUDGET: begin nothing after so many seconds; what is done is kept.
SOAK_BUDGET =
soak: setup
	.venv/bin/python tools/soak.py --write $(addprefix --budget ,$(SOAK_BUDGET))

bench: setup
	.venv/bin/python tools/bench.py $(addprefix --only ,$(ONLY))
