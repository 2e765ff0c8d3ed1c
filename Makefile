# Two commands for a newcomer: `make rehearse` and `make test`. Each sets up all it needs.
SHELL := /bin/sh
PYTHON ?= python3
BIN := .venv/bin
# Compiled once, not by each of the runs that tests start: some machines forbid it for all that runs there.
export PYTHONDONTWRITEBYTECODE :=
# Two lanes of whole files, each with a lab of its own; the lab's files first, since the short ones even it out.
LANES := --numprocesses=2 --dist=loadfile --no-loadscope-reorder

.PHONY: setup rehearse test rehearse-matrix lint bench docs manual bundle lab-up lab-down clean

setup:                           ## what an operator's machine needs: .venv with the pinned dependencies, no engine
	./setup $(PYTHON)

rehearse: .venv/ready            ## build the lab, destroy its quorum, run the runbook, prove the result (KEEP=1: leave it up)
	KEEP=$(KEEP) sh compose/with-engine $(BIN)/python -m compose.rehearse

test: .venv/ready lint           ## everything that must hold: two lanes: real recoveries in the lab, then units
	sh compose/with-engine $(BIN)/pytest $(LANES) $(ARGS)

rehearse-matrix: .venv/ready     ## what `make test` has no time for: the cases marked `matrix`, each in the lab
	sh compose/with-engine $(BIN)/pytest $(LANES) -m matrix $(ARGS)

lint: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: .venv/ready               ## the runbook beside a recovery by hand (PAIRS=5 SIZE=0 HOSTS=1 LOSS=majority LINE=50mbit); what each way loses (LOSSES=20), and runs unasked (NIGHTS=2)
	sh compose/with-engine $(BIN)/python -m tests.benchmarks.bench --pairs $(or $(PAIRS),5) --size $(or $(SIZE),0) \
		--hosts $(or $(HOSTS),1) --loss $(or $(LOSS),majority) $(if $(LINE),--line $(LINE))
	[ "$(LOSSES)" = 0 ] || sh compose/with-engine $(BIN)/python -m tests.benchmarks.losses --losses $(or $(LOSSES),20)
	[ "$(LOSSES)" = 0 ] || sh compose/with-engine $(BIN)/python -m tests.benchmarks.unasked --losses $(or $(NIGHTS),2)

docs: .venv/ready                ## docs/report.png: the report of EVIDENCE=DIRECTORY (required), as a browser shows it
	@[ -n "$(EVIDENCE)" ] || { echo "make docs: say whose report: EVIDENCE=evidence/lab/…, where a rehearsal left it" >&2; exit 2; }
	$(BIN)/python -m requorum.report "$(EVIDENCE)"
	sh docs/screenshot "$(EVIDENCE)/report.html" docs/report.png

manual: .venv/ready              ## the man page, tables of the pages and bash's completion, from what can be typed
	$(BIN)/python -m requorum manual --write

bundle: .venv/ready              ## dist/requorum-…tar.gz: tree, wheels and hashes, for a machine without a package registry
	sh deploy/bundle $(BIN)/python

lab-up: .venv/ready              ## a lab to play with; it stays until lab-down
	$(PYTHON) -m compose.engine start
	$(BIN)/python -m compose.lab up $(ARGS)

lab-down: .venv/ready
	$(BIN)/python -m compose.lab down
	$(PYTHON) -m compose.engine stop

# The whole path: `setup` alone is the target above.
.venv/ready: requirements.txt requirements-lab.txt requirements-build.txt $(CURDIR)/setup
	./setup $(PYTHON) lab
	touch $@

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache
