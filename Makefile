# Per-Pcs Studio. `make` alone says what there is. Needs git, make and a Python 3.11 or newer; the rest is fetched.

POOL ?=
PORT ?= 8501
PYTHON ?=
PYTEST_ARGS ?=
DATA ?=
LOCK ?=

VENV := .venv
BIN := $(VENV)/bin

.PHONY: help app test lint bench fuzz soak evaluate screenshots pool clean env env-dev env-tools data lock audit

help:
	@echo "make app          start the studio on port $(PORT)   (POOL=folder opens another pool, PORT=8600 another port)"
	@echo "make test         run all tests                  (PYTEST_ARGS='-k layer' runs some of them)"
	@echo "make lint         ruff and mypy"
	@echo "make bench        time assembling, a class that asks at once, starting and pressing, into results/speed"
	@echo "make evaluate     all methods on real held-out people, into results/quality   (DATA=folder of people's files, hours)"
	@echo "make screenshots  pictures of every page, light and dark, into docs/screenshots"
	@echo "make pool         build the pool 'people' again, into assets/         (DATA=folder of people's files, hours)"
	@echo "make fuzz         broken files of every kind for every reader, ten minutes"
	@echo "make soak         threads and browser tabs at random, every answer checked, a quarter of an hour"
	@echo "make lock         write the locks of all packages anew, after a change of requirements"
	@echo "make audit        ask the registry for known holes in what is locked"
	@echo "make clean        remove the environment and the caches; build/ stays"
	@echo "PYTHON=python3.12 names the Python that the environment is made with."

app: env
	@PERPCS_POOL="$(if $(POOL),$(POOL),$$PERPCS_POOL)" $(BIN)/python -m streamlit run app.py --server.port $(PORT)

# Browsers need the machine to themselves; all else runs on several cores at once. 5: no test was selected.
test: env-dev
	@$(BIN)/python -m pytest -m "not browser" -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS); first=$$?; \
	$(BIN)/python -m pytest -m browser $(PYTEST_ARGS); second=$$?; \
	case $$first.$$second in 0.0 | 0.5 | 5.0) ;; *) exit 1 ;; esac

lint: env-dev
	@$(BIN)/python -m ruff check .
	@$(BIN)/python -m ruff format --check .
	@$(BIN)/python -m mypy

bench: env-dev
	@$(BIN)/python -m benchmarks.waits $(if $(POOL),--pool "$(POOL)")
	@$(BIN)/python -m benchmarks.assembly $(if $(POOL),--pool "$(POOL)")
	@$(BIN)/python -m benchmarks.classroom $(if $(POOL),--pool "$(POOL)")
	@$(BIN)/python -m benchmarks.startup $(if $(POOL),--pool "$(POOL)")
	@$(BIN)/python -m benchmarks.interactions $(if $(POOL),--pool "$(POOL)")

fuzz: env-dev
	@OMP_NUM_THREADS=1 $(BIN)/python tests/fuzz.py --seconds 570

soak: env-dev
	@OMP_NUM_THREADS=1 $(BIN)/python tests/soak.py --seconds 840

TASKS := LaMP_4 LaMP_5 LaMP_3 LaMP_2N LaMP_1
METHODS ?= base,random-history,rag,pag,pag-counted,retrieval,perpcs:paper,perpcs:gate,perpcs,perpcs:from_gates,perpcs:fit,p2p,p2p:shuffled,oppu,wrong:perpcs,uniform,random

evaluate: data env
	@for task in $(TASKS); do $(BIN)/perpcs evaluate --task $$task $(if $(POOL),--pool "$(POOL)") \
	--users "$(DATA)/$$task/target_users.json" --items 40 --methods "$(METHODS)" --out results/quality/evaluate_$$task.json \
	|| exit 1; done

screenshots: env-dev
	@$(BIN)/python tests/browser/screenshots.py

pool: data env
	@$(BIN)/perpcs build people --data "$(DATA)"

lock: env-tools
	@$(VENV)/tools/bin/python .ci/lock.py

audit: env-tools
	@for file in $(filter-out .ci/locked-cpu.txt,$(wildcard .ci/locked*.txt)) requirements-base.txt; do \
	if said=$$($(VENV)/tools/bin/pip-audit --strict --progress-spinner off --disable-pip --require-hashes -r $$file 2>&1); \
	then echo "$$file: $$said"; continue; fi; \
	case "$$said" in *"known vulnerabilit"*) echo "$$file: $$said" ;; \
	*) echo "$$file was not audited, because pip-audit got no answer: run this where PyPI itself can be" \
	"reached. Its last words: $$(echo "$$said" | tail -n 1 | cut -c 1-300)" ;; esac >&2; exit 1; done

data:
	@test -n "$(DATA)" || { echo "Name the folder that has a folder of people's files for each task: DATA=path/to/data" >&2; \
	exit 1; }

clean:
	rm -rf $(VENV) *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis
	find . -name __pycache__ -type d -not -path './build/*' -prune -exec rm -rf {} +

# ---- the environment -------------------------------------------------------------------------------------------------
# One .venv. Its stamp holds checksums of the files that say what belongs in it; while they are the same, nothing is
# installed. A stamp is written last, so an installation that was interrupted is taken up again.

env:
	@$(call FILL,the app,installed,$(if $(filter no,$(LOCK)),$(OPEN),$(LOCKED)))

env-dev: env
	@$(call FILL,what checking needs,installed-dev,$(if $(filter no,$(LOCK)),$$pip -r requirements-dev.txt,$$locked -r .ci/locked-dev.txt))

# uv and pip-audit have an environment of their own: neither the app nor its tests need them.
env-tools: env
	@$(call FILL,uv and pip-audit,installed-tools,$(BIN)/python -m venv $(VENV)/tools \
	&& $(VENV)/tools/bin/python -m pip install -q --no-deps --require-hashes -r .ci/locked-tools.txt)

# Every file must have a hash of the lock; what comes as source is built with the locked setuptools.
LOCKED := $$locked -r .ci/locked-build.txt \
    && { $$locked -r .ci/locked-cpu.txt || $$locked -r .ci/locked-torch.txt; } \
    && $$locked -r .ci/locked.txt -r requirements-base.txt && $$pip --no-deps --no-build-isolation -e .
OPEN := $$pip -r requirements.txt && $$pip --no-deps --require-hashes -r requirements-base.txt && $$pip --no-deps -e .

# $(call FILL,what for,name of the stamp,how it is installed)
define FILL
set -e; \
say() { echo "$$*" >&2; }; \
wanted=$$({ pwd; echo "$(LOCK)"; cat requirements*.txt .ci/locked*.txt pyproject.toml; } | cksum); \
if [ -f $(VENV)/$(2) ] && [ "$$(cat $(VENV)/$(2))" = "$$wanted" ] && $(BIN)/python -c '' 2>/dev/null; then exit 0; fi; \
if ! $(BIN)/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
    python=; bare=; \
    for name in $(or $(PYTHON),python3.11 python3.12 python3.13 python3 python3.14 python); do \
        "$$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 || continue; \
        if "$$name" -c 'import ensurepip, venv' >/dev/null 2>&1; then python=$$name; break; fi; \
        bare=$${bare:-$$name}; \
    done; \
    if [ -z "$$python" ] && [ -n "$$bare" ]; then \
        say "The Python found here ($$bare) cannot make environments: install its venv module (on Debian and Ubuntu:" \
            "apt-get install python3-venv), or name another one with: make PYTHON=/path/to/python"; \
        exit 1; \
    fi; \
    if [ -z "$$python" ]; then \
        say "$(if $(PYTHON),$(PYTHON) is no Python 3.11 or newer,No Python 3.11 or newer was found): install one (on" \
            "Debian and Ubuntu: apt-get install python3 python3-venv), or name it with: make PYTHON=/path/to/python"; \
        exit 1; \
    fi; \
    say "Making an environment in $(VENV) with $$("$$python" --version)."; \
    if ! "$$python" -m venv --clear $(VENV) >/dev/null 2>&1; then \
        say "The environment $(VENV) could not be made: check that this folder may be written and has 3 GB of space."; \
        exit 1; \
    fi; \
fi; \
say "Installing $(1) into $(VENV); the first time takes a few minutes."; \
log=$(VENV)/install.log; \
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1; \
pip="$(BIN)/python -m pip install -q"; \
locked="$$pip --no-deps --no-build-isolation --require-hashes"; \
if ! { $(3); } >$$log 2>&1; then \
    if [ -n "$$CI" ]; then tail -n 15 $$log >&2; fi; \
    say "The installation did not succeed: check the network and the free space (3 GB), then run make again;" \
        "pip's words are in $$log. If it holds a build of a package that the lock does not know, LOCK=no installs the same" \
        "versions without hashes."; \
    exit 1; \
fi; \
echo "$$wanted" > $(VENV)/$(2)
endef
