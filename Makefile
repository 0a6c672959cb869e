# `make` lists the targets. Everything else is in env/ (set-up) and in the `vga` command.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:

DURATION ?= 30
PURPOSES ?=
ARGS ?=
FUZZ_SECONDS ?= 780

# Runs a command of this checkout. `exec`: Ctrl-C then reaches the command alone, once.
RUN := eval "$$(env/exports.sh)" && exec

.PHONY: help setup demo sim test test-long lint format bench judge fuzz docs docs-run reference env lock clean

help: ## This list
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1|\2/p' Makefile | column -t -s '|'
	@echo
	@echo '  DURATION=30        seconds that make demo may take for its task'
	@echo '  PURPOSES="..."     what make setup installs: robot runtime train sim libero viewers panel trials dev docs'
	@echo '  ARGS="..."         arguments for vga demo, sim, for pytest, the judge or fuzz'
	@echo '  QUICK=1 SEED=1     a judge of 4 minutes; what its random motions are drawn with'
	@echo '  FUZZ_SECONDS=780   after which make fuzz begins no other input; SEED= as for the judge'
	@echo '  PYTHON=python3.12  interpreter of .venv; 3.11 or 3.12'

setup: ## System packages, .venv, ROS workspace; done steps are skipped
	@env/setup.sh $(PURPOSES)

demo: .complete ## The trained policy picks a cube in simulation, by the whole stack; leaves out/demo/{report.json,summary.png,demo.mp4}
	@$(RUN) vga demo --task pick_cube --duration $(DURATION) $(ARGS)

sim: .complete ## The simulated cell with every node, until Ctrl-C
	@$(RUN) vga sim $(ARGS)

# Without ARGS, what keeps no real time comes first, on all processors; the rest then, one by one.
test: .tested lint ## Checks and tests
	@eval "$$(env/exports.sh)" && $(if $(ARGS),pytest $(ARGS), \
	OMP_NUM_THREADS=1 pytest -m unit --numprocesses auto --dist loadfile --no-loadscope-reorder --max-worker-restart 1 && \
	pytest -m realtime)

test-long: .tested ## vga demo, vga collect, a session with a policy, a study and the panel from end to end; training in two processes, the judge
	@eval "$$(env/exports.sh)" && pytest -m long

lint: .complete ## ruff, mypy, and which module may import which
	@eval "$$(env/exports.sh)" && ruff check && ruff format --check && mypy && lint-imports --no-logo

format: .complete ## Formats the code and applies the safe fixes
	@eval "$$(env/exports.sh)" && ruff check --fix && ruff format

bench: .benched ## Latency of the model, cost of safety and recording, speed of the data loader: out/bench/*.json
	@eval "$$(env/exports.sh)" && mkdir -p out/bench && \
	vga bench latency --json | tee out/bench/latency.json && \
	vga bench safety && \
	vga bench record && \
	{ [[ -d out/bench/episodes ]] || vga collect --in-process --task pick_cube --episodes 8 --out out/bench/episodes; } && \
	vga bench loader

judge: .complete ## The driver on an independent FR3 that counts what the real one would stop for: out/judge/report.json; 40 minutes
	@env/judge.sh && $(RUN) env OMP_NUM_THREADS=1 python -m vga_bringup.judge $(if $(QUICK),--quick) $(if $(SEED),--seed $(SEED)) $(ARGS)

fuzz: .complete ## Damaged input at every entrance, up to the full command: out/fuzz/report.json; 15 minutes
	@eval "$$(env/exports.sh)" && mkdir -p out/fuzz && \
	PYTHONPATH="tests:vga_policy/test:vga_bringup/test:$$PYTHONPATH" OMP_NUM_THREADS=1 exec python -m fuzz \
	--seconds $(FUZZ_SECONDS) $(if $(SEED),--seed $(SEED)) $(ARGS)

docs: .documented ## The documentation as a site: site/index.html; a broken link or an outdated page of docs/reference fails
	@eval "$$(env/exports.sh)" && export PYTHONPATH="scripts:$$PYTHONPATH" && \
	python -m reference --check && zensical build --clean --strict

docs-run: .complete ## Runs the commands that tutorials and how-to pages show, in out/docs-run; 20 minutes
	@$(RUN) python scripts/run_docs.py $(ARGS)

reference: .complete ## Writes the pages of docs/reference that come from the sources
	@eval "$$(env/exports.sh)" && PYTHONPATH="scripts:$$PYTHONPATH" exec python -m reference

env: .ready ## Prints this environment: eval "$(make -s env)"
	@env/exports.sh

lock: ## Resolves env/requirements/*.in to exact versions; UPGRADE=1 for newer ones
	@env/lock.sh

clean: ## Removes what setup and demo made, except .venv
	@rm -rf build install log out site .cache .pytest_cache .mypy_cache .ruff_cache

# .ready: what this machine was set up for. .complete: everything that the simulation needs.
.PHONY: .ready .complete .tested .documented .benched
.ready:
	@env/setup.sh --quiet
.complete:
	@env/setup.sh --quiet robot runtime sim train dev
# What looks, acts and judges beside the robot is tested too.
.tested:
	@env/setup.sh --quiet robot runtime sim train viewers panel trials dev
.documented:
	@env/setup.sh --quiet robot runtime sim train dev docs
# LeRobot's reader, which vga bench loader measures beside ours, decodes videos with the system's FFmpeg.
.benched:
	@SYSTEM_PACKAGES=ffmpeg env/setup.sh --quiet robot runtime sim train dev
