# Each target makes the environment that it needs; a second run finds it ready. `make help` lists the targets.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.NOTPARALLEL:
.DEFAULT_GOAL := help

# 3.11 first: it is what the benchmarks and goldens were made with. Override: make PYTHON=/path/to/python3.12 test
PYTHON ?= $(shell for p in python3.11 python3.12 python3; do \
	$$p -c 'import sys, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null \
	&& { echo $$p; break; }; done)
PYTEST_FLAGS ?= -n 2
PHOTO ?= examples/photo.png
# Corner of the enlarged detail: an eye. For a photo of yours: make PHOTO=my.jpg DETAIL= demo
DETAIL ?= 310,500
OUT ?= out

RUN := .venv-run
DEV := .venv
BIN := $(DEV)/bin/python
# What another environment put on the path must not be seen by ours.
unexport PYTHONPATH PYTHONHOME

.PHONY: help demo test test-all check docs bench quality clean

help:
	@echo 'make demo      upscale $(PHOTO) x4 into $(OUT)/ (installs the base package only: no torch)'
	@echo 'make test      checks and every test that is neither slow nor for a GPU'
	@echo 'make test-all  checks and every test that needs no GPU: full size, fuzz, long runs'
	@echo 'make check     lint, format, types, floors'
	@echo 'make docs      the API reference, into docs/reference/'
	@echo 'make bench     the benchmarks; their tables go to benchmarks/'
	@echo 'make clean     remove what the targets made, environments too'

# An environment is ready when its stamp is newer than pyproject.toml; a broken attempt leaves no stamp.
define environment
@test -n '$(PYTHON)' || { echo 'no Python 3.11 or 3.12 with ensurepip found; install one, or: make PYTHON=/path/to/python3.11' >&2; exit 1; }
@echo 'making $(@D) with $(PYTHON) (minutes the first time)'
@rm -rf $(@D); $(PYTHON) -m venv $(@D); $(@D)/bin/python -m pip install --quiet --no-input --disable-pip-version-check -e '$(1)'
@touch $@
endef

$(RUN)/ready: pyproject.toml
	$(call environment,.)

$(DEV)/ready: pyproject.toml
	$(call environment,.[dev])

demo: $(RUN)/ready
	@mkdir -p $(OUT)
	$(RUN)/bin/lqhq upscale demo $(PHOTO) -o $(OUT)/photo_x4.png
	@$(RUN)/bin/python examples/before_after.py $(PHOTO) $(OUT)/photo_x4.png $(OUT)/before_after.png $(DETAIL:%=--detail %)
	@echo 'x4 image:      $(OUT)/photo_x4.png'
	@echo 'before/after:  $(OUT)/before_after.png (left bicubic, right lqhq)'

test: check
	$(BIN) -m pytest -q -m 'not slow and not gpu' $(PYTEST_FLAGS)

test-all: check
	$(BIN) -m pytest -q -m 'not gpu' $(PYTEST_FLAGS)

check: $(DEV)/ready
	$(BIN) -m ruff check .
	$(BIN) -m ruff format --check .
	$(BIN) -m mypy
	$(BIN) -m mypy examples
	$(BIN) tools/floors.py

docs: $(DEV)/ready
	rm -rf docs/reference
	$(BIN) -m pdoc --docformat markdown -o docs/reference lqhq.runtime lqhq.kernels lqhq.server lqhq.export lqhq.tools
	@echo 'open docs/reference/index.html'

# Every script writes its own table. The quality table needs photos: make quality PHOTOS=folder (tools/demo_photos.py);
# that of guided tiles photos and a bundle, full-size TensorRT-RTX engines 12 GB of memory, and full-size OSEDiff as much
# and half an hour: benchmarks/README.md.
APART := $(addprefix benchmarks/,quality.py guided_tiles.py rtx_builds.py osediff_full.py synthesis.py vae_segments.py)
bench: $(DEV)/ready
	@test -n '$(wildcard benchmarks/*.py)' || { echo 'benchmarks/ holds no script' >&2; exit 1; }
	for script in $(sort $(filter-out $(APART),$(wildcard benchmarks/*.py))); do echo "== $$script"; $(BIN) "$$script"; done

quality: $(DEV)/ready
	$(BIN) benchmarks/quality.py '$(PHOTOS)' --sheet $(OUT)/crops.png

clean:
	rm -rf $(RUN) $(DEV) $(OUT) build dist *.egg-info docs/reference .mypy_cache .ruff_cache .pytest_cache .hypothesis
