# Everything is set up on the first call; later calls install again only what pyproject.toml or constraints.txt changed.
# On a fresh machine this needs make, Python 3.10 to 3.13 and a package index.

# The Python that the environments are made with, and where they are.
BASE_PYTHON ?= python3
VENV ?= .venv
VENV_QUICK ?= .venv-quick
VENV_MLFLOW ?= .venv-mlflow
# More arguments for pytest: make test ARGS="-k migrate".
ARGS ?=

PYTHON = $(VENV)/bin/python
INSTALL = -m pip install --disable-pip-version-check -qq --constraint constraints.txt
LINT = ruff check .; ruff format --check .; lint-imports --no-logo
# One process for each core.
PYTEST = python -m pytest --numprocesses auto
# Thousands of small files: in memory, where there is such a folder, tests take much less time.
SCRATCH = if [ -w /dev/shm ]; then mktemp -d /dev/shm/plansguard.XXXXXX; else mktemp -d; fi
# Bytecode of tests is worth caching.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo demo-model demo-data demo-train test test-long test-quick fuzz mutation install install-test install-quick install-trackers install-programs install-site schemas docs site pictures page-pictures fixtures bench clean dist hostile matrix

help:
	@echo 'make demo        migrate, check, edit, refuse (installs the light package only)'
	@echo 'make demo-model  the same with the zip of a released model'
	@echo 'make demo-data   the same with data that the real nnU-Net preprocesses (installs nnU-Net and torch)'
	@echo 'make demo-train  the whole road: pretrain, migrate, fine-tune, predict, on the CPU (minutes)'
	@echo 'make test        ruff, mypy, import-linter, all tests but the long ones; installs nnU-Net and torch (several GB)'
	@echo 'make test-long   tests that repeat in minutes what shorter ones cover, such as a road that is killed ten times, or need trackers'
	@echo 'make test-quick  the same without what needs nnU-Net or takes long'
	@echo 'make fuzz        the readers of untrusted files on mutated real ones, for hours'
	@echo 'make docs        write schemas/, docs/rules/ and other pages of docs/ from the code (also: make schemas)'
	@echo 'make site        the documentation as HTML in build/site; a broken link or an unlisted page is an error'
	@echo 'make pictures    store and draw what the main commands show on a terminal'
	@echo 'make page-pictures  draw the pages of the README in Chromium'
	@echo 'make fixtures    write fixtures/ with the real nnU-Net (minutes)'
	@echo 'make bench       compare plansguard with nnU-Net, side by side'
	@echo 'make hostile     run commands on 100,000 hostile documents: no crash, no traceback, no 2 s, no 500 MB (hours)'
	@echo 'make matrix      the light tests on every Python found, with the oldest and the newest dependencies (half an hour)'
	@echo 'make dist        wheel and sdist in dist/; two builds of one commit have the same bytes'
	@echo 'make mutation    mutate good documents, and compare plansguard with the real nnU-Net (minutes)'
	@echo 'make install-programs  zsh and fish for tests of completion, chromium for pages, rsync, SLURM and shellcheck for recipes and scripts (Debian and Ubuntu; as root or with sudo)'
	@echo 'make clean       remove environments, caches and builds'
	@echo 'Variables: BASE_PYTHON (python3), VENV (.venv), VENV_QUICK (.venv-quick), ARGS (for pytest)'

demo: install
	@$(PYTHON) demo/demo.py

demo-model: install
	@$(PYTHON) demo/released_model.py

demo-train: install-test
	@$(PYTHON) demo/road.py

demo-data: install-test
	@$(PYTHON) demo/preprocessed_data.py

test: install-test
	@# Module-scoped fixtures are created once, so a module stays in one process.
	@PATH="$$(cd '$(VENV)/bin' && pwd):$$PATH"; TMPDIR="$$($(SCRATCH))"; export PATH TMPDIR; \
	    trap 'rm -rf "$$TMPDIR"' EXIT; set -ex; $(LINT); mypy --strict; \
	    $(PYTEST) --dist loadscope --no-loadscope-reorder -m 'not long' $(ARGS)

# Tests marked long repeat in minutes what shorter ones cover.
test-long: install-test install-trackers
	@PATH="$$(cd '$(VENV)/bin' && pwd):$$PATH"; TMPDIR="$$($(SCRATCH))"; export PATH TMPDIR; \
	    MLFLOW_SERVER="$$(cd '$(VENV_MLFLOW)/bin' && pwd)/mlflow"; export MLFLOW_SERVER; \
	    trap 'rm -rf "$$TMPDIR"' EXIT; python -m pytest --numprocesses auto --dist loadscope -m long $(ARGS)

test-quick: install-quick
	@# Without its cache, mypy takes one core for twenty seconds: the tests run meanwhile.
	@PATH="$$(cd '$(VENV_QUICK)/bin' && pwd):$$PATH"; TMPDIR="$$($(SCRATCH))"; export PATH TMPDIR; types=; \
	    trap 'kill $$types 2>/dev/null || :; rm -rf "$$TMPDIR"' EXIT; set -ex; $(LINT); \
	    mypy --strict >"$$TMPDIR/types" 2>&1 & types=$$!; \
	    $(PYTEST) --dist worksteal -m 'not nnunet and not slow and not long and not deep' $(ARGS); \
	    wait $$types || { cat "$$TMPDIR/types"; exit 1; }; cat "$$TMPDIR/types"

# One row: make matrix ARGS="3.10 oldest".
matrix: install-quick
	@TMPDIR="$$($(SCRATCH))"; export TMPDIR; trap 'rm -rf "$$TMPDIR"' EXIT; \
	    nice $(VENV_QUICK)/bin/python tools/matrix.py $(ARGS)

# The backend of constraints.txt orders files and modes. Every file has the date of the commit; a checkout without git has
# that of hatchling.
SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct 2>/dev/null || echo 1580601600)
dist: install-quick
	@SOURCE_DATE_EPOCH='$(SOURCE_DATE_EPOCH)' $(VENV_QUICK)/bin/python -m build --no-isolation --outdir dist .

fuzz: install-quick
	@$(VENV_QUICK)/bin/python -m pytest tests -k fuzz --hypothesis-profile=plansguard-fuzz $(ARGS)

# schemas/ and docs/ come from one script, so that neither can be forgotten.
schemas docs: install
	@$(PYTHON) tools/samples.py
	@$(PYTHON) tools/generate.py

# Without a cache: each warning is printed each time.
DOCS ?= docs
SITE ?= build/site
site: install-site
	@$(PYTHON) -m sphinx --fresh-env --nitpicky --fail-on-warning --keep-going --quiet \
	    --doctree-dir '$(SITE)/../doctrees' '$(DOCS)' '$(SITE)'
	@echo 'wrote $(SITE)/index.html'

pictures: install
	@$(PYTHON) -m tests.support.outputs
	@$(PYTHON) tools/pictures.py

page-pictures: install-test
	@$(PYTHON) tools/page_pictures.py

fixtures: install-test
	@$(PYTHON) fixtures/make_fixtures.py

bench: install-test
	@$(PYTHON) benchmarks/run.py

# 300 mutants of seed 1; benchmarks/README.md has the commands of a large run. Rules are tuned on seeds below 300.
mutation: install-test
	@$(PYTHON) benchmarks/mutation/run.py $(ARGS)

# A run that was stopped continues with the same STATE.
STATE ?= /tmp/plansguard-hostile
hostile: install
	@$(PYTHON) benchmarks/hostile/run.py --state '$(STATE)' $(ARGS)

install: $(VENV)/.installed
install-test: $(VENV)/.installed-test
install-site: $(VENV)/.installed-site
install-quick: $(VENV_QUICK)/.installed-quick
install-trackers: $(VENV)/.installed-trackers $(VENV_MLFLOW)/.installed-mlflow

# Completion is tested in these shells, pages in this browser, recipes with rsync and SLURM, printed scripts with shellcheck and
# SLURM; their tests are skipped where these are absent. Without a network, or the right to install, the rest is tested.
# PROGRAM:PACKAGE where the names differ.
PROGRAMS = zsh fish chromium rsync shellcheck slurmctld slurmd srun:slurm-client munged:munge
install-programs:
	@missing=; for program in $(PROGRAMS); do PATH="$$PATH:/usr/sbin" command -v $${program%%:*} >/dev/null || \
	        missing="$$missing $${program##*:}"; done; \
	    [ -z "$$missing" ] && exit 0; \
	    apt="timeout 300 apt-get -qq -o Acquire::Retries=1 -o Acquire::http::Timeout=20 -o DPkg::Lock::Timeout=60"; \
	    [ "$$(id -u)" = 0 ] || apt="sudo -n $$apt"; export DEBIAN_FRONTEND=noninteractive; \
	    { $$apt install -y --no-install-recommends $$missing || \
	        { $$apt update; $$apt install -y --no-install-recommends $$missing; }; } >/dev/null 2>&1 || \
	    echo "not installed:$$missing; the tests that need them are skipped" >&2

# The marker files are written last: after an interruption the next call continues where this one stopped.
$(VENV)/.installed: $(VENV)/.created pyproject.toml constraints.txt
	@echo 'installing plansguard into $(VENV)'
	@$(PYTHON) $(INSTALL) --editable .
	@touch $@

$(VENV)/.installed-site: $(VENV)/.created pyproject.toml constraints.txt
	@echo 'installing plansguard and Sphinx into $(VENV)'
	@$(PYTHON) $(INSTALL) --editable '.[site]'
	@touch $(VENV)/.installed $@

$(VENV)/.installed-test: $(VENV)/.created pyproject.toml constraints.txt
	@echo 'installing plansguard, nnU-Net, torch and the test tools into $(VENV) (several GB the first time)'
	@$(PYTHON) $(INSTALL) --editable '.[dev,train,data,dask,report,browser,site,notebook]'
	@touch $(VENV)/.installed $(VENV)/.installed-site $@

# Trainings send their metrics to these. MLflow excludes some of the newest versions: its client takes those of constraints.txt
# nevertheless, and its server is installed apart.
$(VENV)/.installed-trackers: $(VENV)/.installed-test
	@echo 'installing the clients of MLflow and Weights & Biases into $(VENV)'
	@$(VENV)/bin/uv pip install --quiet --python $(PYTHON) --override constraints.txt --editable '.[mlflow,wandb]'
	@touch $@

$(VENV_MLFLOW)/.installed-mlflow: $(VENV_MLFLOW)/.created
	@echo 'installing the server of MLflow into $(VENV_MLFLOW)'
	@$(VENV_MLFLOW)/bin/python -m pip install --disable-pip-version-check -qq 'mlflow>=3'
	@touch $@

$(VENV_QUICK)/.installed-quick: $(VENV_QUICK)/.created pyproject.toml constraints.txt
	@echo 'installing plansguard and the test tools into $(VENV_QUICK)'
	@$(VENV_QUICK)/bin/python $(INSTALL) --editable '.[dev,report]'
	@touch $@

$(VENV)/.created $(VENV_QUICK)/.created $(VENV_MLFLOW)/.created:
	@$(BASE_PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 14))' || \
	    { echo 'Python 3.10 to 3.13 is needed: make BASE_PYTHON=python3.11 ...' >&2; exit 1; }
	@$(BASE_PYTHON) -m venv $(@D) || \
	    { echo 'python cannot make environments; on Debian and Ubuntu: apt install python3-venv' >&2; exit 1; }
	@touch $@

# Only what is in this folder: a VENV elsewhere is not removed.
clean:
	rm -rf .venv .venv-quick .venv-mlflow build demo/workspace dist .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
