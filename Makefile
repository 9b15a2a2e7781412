# make demo and make test set themselves up: they need python3 (3.11 to 3.14), make, g++ and perl.

BIN := .venv/bin
STAMP := .venv/stamp-$(shell cat requirements.txt pyproject.toml | cksum | cut -d ' ' -f 1)
SUPPORTED := import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15))
NETLIST := $(addprefix tests/units/test_,pe_array.py pooling_unit.py requantizer.py tables.py adder.py column_windows.py \
  term_sequencer.py packed_multiplier.py)
PYTEST := $(BIN)/python -m pytest -q -n auto

# Tests run side by side, one process a core: more threads in each would only get in the way.
test test-all daily fuzz runtimes newest executorch mutate bisection coverage: export OMP_NUM_THREADS := 1

.PHONY: help demo test test-all daily fuzz exhaustive runtimes newest executorch stress mutate bisection coverage lint bench synth formal docs litex wheel pythons clean
help:
	@echo "make demo      classify the bundled 1,000 images on the accelerator, in Verilator"
	@echo "make test      style, types and the test suite, also on the Verilog; make fuzz: longer"
	@echo "make test-all  the same, five times the examples for the Verilog, and on the netlist;"
	@echo "               then make docs and make wheel"
	@echo "make daily     the property tests with the examples of this day: the suite has the same ones"
	@echo "               every time; DAY=20261231 has those of that day again"
	@echo "make exhaustive  every accumulator through the requantizer, against float32 and PyTorch"
	@echo "make runtimes  a million outputs beside ties of each of ONNX Runtime's integer operators,"
	@echo "               damaged files of all kinds, changed ONNX models"
	@echo "make newest    the suite's numeric part with the newest PyTorch and other packages"
	@echo "make executorch  the same of ExecuTorch's, in an environment of its own, of a gigabyte"
	@echo "make stress    resets in every cycle, random initial states, long streams with pauses"
	@echo "make mutate    plant faults in RTL, arithmetic and compiler, see that the tests find them"
	@echo "make bisection plant faults in the RTL, see what accel bisect names: docs/bisection.md"
	@echo "make coverage  what the tests reach of the Verilated RTL: lines, branches, toggles"
	@echo "make bench     measure cycles and speed, and write docs/benchmarks.md (15 minutes)"
	@echo "make synth     synthesize the presets, and write the figures of docs/synthesis.md anew"
	@echo "make formal    prove properties of the units, and write the table of docs/verification.md"
	@echo "make docs      build the documentation, and run its tutorial: build/site/index.html"
	@echo "make litex     install LiteX, and simulate a system on chip with a processor, DMA and accelerator"
	@echo "make wheel     build the wheel, and run it from an empty environment elsewhere"
	@echo "make pythons   Verilog and the simulator's order under every Python that is installed"
	@echo "make clean     remove what the targets wrote, .venv included"

demo: $(STAMP)
	$(BIN)/accel demo --out out

lint: $(STAMP)
	@echo "== style and types"
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: lint
	@echo "== the suite: models and RTL in PyMTL3's own simulator"
	$(PYTEST) -rs tests
	@echo "== RTL again as Verilog in Verilator, registers starting at random"
	$(PYTEST) --test-verilog=rand tests
	@echo "== a unit once more as the netlist that Yosys makes for an ECP5"
	$(PYTEST) --test-netlist tests/units/test_pooling_unit.py

test-all: test
	@echo "== RTL as Verilog once more, registers starting at zero"
	$(PYTEST) --test-verilog=zeros tests
	@echo "== and starting at ones, with five times the examples"
	$(PYTEST) --test-verilog=ones --hypothesis-profile=more tests
	@echo "== and starting at other random values, three times"
	for seed in 1 2 3; do $(PYTEST) --test-verilog=rand --rand-seed=$$seed tests || exit 1; done
	@echo "== the netlist: units, and whole images on tiny"
	$(PYTEST) --test-netlist $(NETLIST) tests/system/hardware/test_netlist.py tests/system/verilog/test_bitstream.py
	@echo "== the documentation, and its tutorial"
	$(MAKE) docs
	@echo "== the wheel, installed elsewhere"
	$(MAKE) wheel

# The gate is the same every time. This one is not, and can be had again: by its date, or by what
# Hypothesis prints of a failure.
DAY ?= $(shell date -u +%Y%m%d)
daily: $(STAMP)
	@echo "== property tests with the examples of $(DAY)"
	$(PYTEST) --hypothesis-profile=daily --hypothesis-seed=$(DAY) tests
	@echo "== and of the units' Verilog"
	$(PYTEST) --test-verilog=zeros --hypothesis-profile=daily --hypothesis-seed=$(DAY) tests/units

fuzz: $(STAMP)
ifdef CLUSTER
	@echo "== random networks on the workers of $(CLUSTER), new ones every time"
	$(BIN)/python -m tests.tools.fuzz --cluster $(CLUSTER)
else
	@echo "== property tests with many more examples, new ones every time"
	$(PYTEST) --hypothesis-profile=night tests
endif

exhaustive: $(STAMP)
	@echo "== every accumulator through the Verilated requantizer, and through PyTorch's kernels"
	$(BIN)/python -m tests.tools.exhaustive

# What touches numbers, with the newest versions that install together, whatever requirements.txt pins.
NEWEST := build/newest
newest: $(STAMP)
	@echo "== installing the newest packages into $(NEWEST) (minutes, the first time)"
	@test -x $(NEWEST)/bin/python || $(BIN)/python -m venv $(NEWEST)
	@$(NEWEST)/bin/pip install -q --upgrade -e '.[dev]'
	@$(NEWEST)/bin/python -c "import torch; print('== the suite\'s numeric part with torch', torch.__version__)"
	$(NEWEST)/bin/python -m pytest -q -n auto tests/system/network tests/system/frontends tests/system/hardware/test_operations.py

# ExecuTorch takes a gigabyte with what it needs: so it has an environment of its own.
EXECUTORCH := build/executorch
executorch: $(STAMP)
	@echo "== installing ExecuTorch into $(EXECUTORCH) (a gigabyte, the first time)"
	@test -x $(EXECUTORCH)/bin/python || $(BIN)/python -m venv $(EXECUTORCH)
	@$(EXECUTORCH)/bin/pip install -q executorch==1.5.1 torchao==0.18.0 $$(grep -E '^(numpy|rich|safetensors|torch|typer)==' requirements.txt)
	@echo "== a million outputs of each operator (half an hour)"
	PYTHONPATH=. $(EXECUTORCH)/bin/python -m tests.tools.executorch

runtimes: $(STAMP)
	@echo "== outputs beside ties, against ONNX Runtime; damaged files; changed models"
	$(BIN)/python -m tests.tools.runtimes

stress: $(STAMP)
	@echo "== Verilated accelerators: resets in every cycle, random states, long streams"
	$(BIN)/python -m tests.tools.rough

mutate: $(STAMP)
	$(BIN)/python -m tests.tools.mutation

bisection: $(STAMP)
	$(BIN)/python -m tests.tools.bisection

coverage: $(STAMP)
	rm -rf build/coverage
	mkdir -p build/coverage
	$(PYTEST) --test-verilog=zeros --rtl-coverage=build/coverage tests
	$(BIN)/python -m tests.tools.coverage build/coverage

bench: $(STAMP)
	$(BIN)/python -m benchmarks

synth: $(STAMP)
	$(BIN)/python -m benchmarks.synthesis

formal: $(STAMP)
	$(BIN)/python -m formal

docs: $(STAMP)
	$(BIN)/python -m pip install -q --disable-pip-version-check -r docs/requirements.txt
	$(BIN)/python -m sphinx -q -W --keep-going -b html docs build/site

litex: $(STAMP)
	$(BIN)/python -m pip install -q --disable-pip-version-check -r examples/riscv/requirements.txt
	$(BIN)/accel translate --config tiny --network accel/fashion_mnist/assets/fashion_mnist_int8.safetensors --images 3 --out build/litex
	@echo "== VexRiscv, DMA and the accelerator, simulated"
	$(BIN)/python examples/riscv/litex_soc.py build/litex

# Outside the repository, so that what the wheel lacks is not found here. setuptools would put
# everything it finds in build/lib into the wheel, also what is long deleted.
wheel: $(STAMP)
	rm -rf build/lib build/wheel
	$(BIN)/python -m pip wheel -q --disable-pip-version-check --no-deps --no-build-isolation -w build/wheel .
	$(BIN)/twine check --strict build/wheel/*.whl
	$(BIN)/check-wheel-contents build/wheel/*.whl
	set -e; elsewhere=$$(mktemp -d); trap 'rm -rf "$$elsewhere"' EXIT; \
	$(BIN)/python -m venv "$$elsewhere/venv"; \
	"$$elsewhere/venv/bin/python" -m pip install -q --disable-pip-version-check \
	  -c requirements.txt build/wheel/*.whl; \
	cd "$$elsewhere"; \
	venv/bin/accel run --level fl --images 20; \
	venv/bin/accel run --level verilator --images 5; \
	venv/bin/accel doctor

# Only what translating takes is installed, so that it takes a minute for each Python.
pythons:
	rm -rf build/pythons
	@set -e; first=; last=; \
	for python in python3.11 python3.12 python3.13 python3.14; do \
	  $$python -c '$(SUPPORTED)' 2>/dev/null || continue; \
	  echo "== the presets under $$python"; \
	  environment=build/pythons/$$python.venv; \
	  $$python -m venv $$environment; \
	  $$environment/bin/python -m pip install -q --disable-pip-version-check \
	    -c requirements.txt pymtl3 numpy; \
	  $$environment/bin/python -m tests.tools.pythons build/pythons/$$python; \
	  if [ -n "$$first" ]; then \
	    diff -rq build/pythons/$$first build/pythons/$$python; \
	    echo "   the same as under $$first"; \
	  fi; \
	  first=$${first:-$$python}; last=$$python; \
	done; \
	if [ "$$first" = "$$last" ]; then \
	  echo "error: there is nothing to compare: of python3.11, python3.12, python3.13 and" \
	    "python3.14 two must be installed" >&2; exit 2; \
	fi

# The stamp's name changes with what is to be installed, and an interrupted set-up leaves none.
$(STAMP):
	@case "$$PWD" in *\$$*) \
	  echo "error: setuptools cannot install from a folder with a dollar sign in its path, as $$PWD" \
	    "has: move the checkout" >&2; exit 2; esac
	@set -e; \
	for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	  if $$python -c '$(SUPPORTED)' 2>/dev/null; then break; fi; python=; \
	done; \
	if ! $(BIN)/python -c '$(SUPPORTED)' 2>/dev/null; then \
	  if [ -z "$$python" ]; then \
	    echo "error: no Python from 3.11 to 3.14 found: install one that runs as python3," \
	      "python3.14, python3.13, python3.12 or python3.11" >&2; exit 2; \
	  fi; \
	  echo "== creating .venv with $$python"; \
	  rm -rf .venv; \
	  $$python -m venv .venv || { rm -rf .venv; \
	    echo "error: $$python cannot create a virtual environment: install its venv module" \
	      "(Debian: python3-venv)" >&2; exit 2; }; \
	fi; \
	echo "== installing the packages of requirements.txt into .venv (minutes, the first time)"; \
	$(BIN)/python -m pip install -q --disable-pip-version-check -r requirements.txt; \
	$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	@rm -f .venv/stamp-*
	@touch $@

clean:
	rm -rf .venv build out *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find accel fl_models cl_models rtl_models tests examples benchmarks formal -name __pycache__ -prune -exec rm -rf {} +
