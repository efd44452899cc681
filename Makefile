# Two commands do everything: `make demo` runs the workflow on the built-in corpus, `make test` the tests.
# make only adds the environment: in one of your own, `snakemake --cores all` does the same.

SUITS := import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))
# Each candidate is run: a name on the PATH may be a shim of a version that is not installed.
PYTHON ?= $(shell for p in python3 python3.12 python3.11 python; do "$$p" -c '$(SUITS)' 2>/dev/null && echo "$$p" && break; done)
VENV := .venv
RUN := . $(VENV)/bin/activate &&
PIP_AUDIT := 2.10.1
COSMIC_RAY := 8.7.0
RATTLER := 0.28.0
SITE := mkdocs==1.6.1 mkdocs-material==9.8.2 mkdocstrings[python]==1.0.8
TORCH := $(shell grep '^torch==' requirements.txt)

.PHONY: demo help wheel site real real-packages test test-all test-slurm test-conda test-serving test-mutants test-faults test-fuzz audit check-demo repro lint format docs images lock lock-comet lock-vllm clean

demo: $(VENV)/.ready ## run the whole method on the built-in corpus
	@$(RUN) snakemake --cores all

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1	/p' Makefile | expand -t 16

wheel: $(VENV)/.ready ## build the package as a wheel, in dist/
	@$(RUN) python -m pip wheel -q --no-deps --no-build-isolation -w dist .

# mkdocs has an environment of its own. A broken link or a page without a place fails.
site: ## build the documentation as pages with search, in site/
	@[ -x .venv-site/bin/mkdocs ] || { "$(PYTHON)" -m venv .venv-site && .venv-site/bin/pip install -q $(SITE); }
	@NO_MKDOCS_2_WARNING=1 .venv-site/bin/mkdocs build --quiet --strict

# A published language model on real text: config/gemma.yaml, an estimated 50 minutes on two cores. DATA is the folder of
# the corpora, laid out as config/gemma.yaml says. REAL=config/smollm.yaml runs that file instead.
REAL ?= config/gemma.yaml
real: real-packages ## run Gemma 3 270M on the corpora under DATA
	@[ -d "$(DATA)" ] || { echo "Say where the corpora are: make real DATA=FOLDER (what lies there: $(REAL))"; exit 1; }
	@$(RUN) snakemake --cores all --configfile $(REAL) --config data_root="$(DATA)"

real-packages: $(VENV)/.real ## install the weights of two language models, which have licences of their own

$(VENV)/.real: $(VENV)/.ready requirements-real.txt
	@echo "Installing weights that come under licences of their own:" && sed -n 's/^#   /  /p' requirements-real.txt
	@$(RUN) python -m pip install -q --no-deps -r requirements-real.txt
	@touch $@

# What a contributor runs before every commit. WORKERS=0 runs the tests in one process, for a debugger.
WORKERS ?= 2
PYTEST := python -m pytest -n $(WORKERS) --dist loadgroup --ignore tests/slurm --ignore tests/conda --ignore tests/serving

test: $(VENV)/.ready ## run the tests for every change
	@$(RUN) $(PYTEST) -m "not demo and not slow"

# ... and the rest: killed processes, faults, COMET, real shapes, real models, guides that add code, benchmarks.
# Real models (tests/real) are skipped without `make real-packages`.
test-all: $(VENV)/.ready ## run those and the slow ones
	@$(RUN) $(PYTEST) -m "not demo"

test-fuzz: $(VENV)/.ready ## put ten thousand damaged files through every parser: some minutes
	@$(RUN) python -m tests.fuzz.run --inputs 10000

# Whether the unit tests notice a seeded sample of mutants of the core. cosmic-ray, which makes them, has an environment of
# its own. MUTANTS="--area plan": of one area of tests/mutants/map.yaml;
# MUTANTS=--further: survivors are also run against all other unit tests and the slow ones of their module.
SEED ?= 1
test-mutants: $(VENV)/.ready ## see whether tests notice changed code: about half an hour
	@[ -x .venv-mutants/bin/cosmic-ray ] || { "$(PYTHON)" -m venv .venv-mutants \
	  && .venv-mutants/bin/pip install -q cosmic-ray==$(COSMIC_RAY) $$(grep '^PyYAML==' requirements.in); }
	@.venv-mutants/bin/python -m tests.mutants.sample $(SEED) > .venv-mutants/sample.jsonl
	@$(RUN) python -m tests.mutants .venv-mutants/sample.jsonl $(MUTANTS)

# Known vulnerabilities of the pinned packages, by pip-audit in an environment of its own. Asks a service on the network.
# --strict: without it, packages that the service does not know count as clean.
audit: ## look up the pinned packages among known vulnerabilities
	@[ -x .venv-audit/bin/pip-audit ] || { "$(PYTHON)" -m venv .venv-audit && .venv-audit/bin/pip install -q pip-audit==$(PIP_AUDIT); }
	@for lock in requirements.txt envs/*.txt; do echo "$$lock:"; .venv-audit/bin/pip-audit --strict --no-deps --disable-pip -r $$lock \
	  || { echo "$$lock: not clean, or the service of vulnerabilities was not reached (see above)" >&2; bad=1; }; done; [ -z "$$bad" ]

# The tests start and stop it. Needs Slurm's Debian packages.
test-slurm: $(VENV)/.ready ## run the workflow on a real Slurm: 10 minutes
	@$(RUN) python -m pytest -s tests/slurm

# `snakemake --use-conda` with a stand-in for conda that makes environments from the pins, and once with rattler, a real
# solver and installer of conda packages, which has an environment of its own. Needs the package registry.
test-conda: $(VENV)/.ready ## run it with --use-conda: a stand-in for conda, and rattler
	@[ -d .venv-rattler/lib/python3*/site-packages/rattler ] || { "$(PYTHON)" -m venv .venv-rattler \
	  && .venv-rattler/bin/pip install -q py-rattler==$(RATTLER) $$(grep '^PyYAML==' requirements.in); }
	@$(RUN) python -m pytest tests/conda

# vLLM translates and serves, on the CPU, in the environment that the workflow builds for it, and llama.cpp takes adapters.
# Needs the package registry once.
test-serving: $(VENV)/.ready .venv-vllm/.ready ## translate and serve with vLLM
	@$(RUN) python -m pytest tests/serving

.venv-vllm/.ready: envs/vllm.txt $(VENV)/.ready
	@$(RUN) python -m workflow.scripts.build_environment --lock $< --ready $@

# The tests make this one, so that a machine without a C++ compiler can do without. llama.cpp's source comes with its converters.
# What llama-cpp-python would compile besides the library takes longer than the library itself.
LLAMA := .venv-llama/source
.venv-llama/.ready: tests/serving/llama.txt
	@rm -rf .venv-llama && "$(PYTHON)" -m venv .venv-llama
	@CMAKE_ARGS="-DLLAMA_BUILD=OFF -DLLAVA_BUILD=OFF" .venv-llama/bin/python -m pip install -q -r $<
	@.venv-llama/bin/python -m pip download -q --no-deps --no-binary :all: $$(grep llama_cpp $<) -d .venv-llama
	@mkdir $(LLAMA) && tar -xzf .venv-llama/llama_cpp_python-*.tar.gz -C $(LLAMA) --strip-components 1
	@. .venv-llama/bin/activate && cmake -G Ninja -S $(LLAMA)/vendor/llama.cpp -B .venv-llama/built -DLLAMA_BUILD_COMMON=OFF \
	  -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_TOOLS=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_SERVER=OFF -DGGML_NATIVE=OFF \
	  -DGGML_OPENMP=OFF -DCMAKE_C_FLAGS_RELEASE=-O0 -DCMAKE_CXX_FLAGS_RELEASE=-O0 > .venv-llama/log && ninja -C .venv-llama/built llama >> .venv-llama/log
	@touch $@

test-faults: $(VENV)/.ready ## put fifty faults into running workflows: 23 minutes
	@$(RUN) python -m tests.faults --seed 1 --number 50

# Neurons recomputed by the witness, changed weights, and the numbers of the tables.
check-demo: $(VENV)/.ready ## check what the finished demo promises
	@$(RUN) python -m pytest -m demo

# The demo twice, in two folders; the same bytes but for times.
repro: $(VENV)/.ready ## run the demo twice and compare the bytes
	@$(RUN) python -m tests.repro

lint: $(VENV)/.ready ## check style, layers and rules
	@$(RUN) ruff check . && ruff format --check . && lint-imports --no-cache --no-logo && mypy && snakefmt --check Snakefile rules && snakemake --lint

format: $(VENV)/.ready ## fix style
	@$(RUN) ruff check --fix . && ruff format . && snakefmt Snakefile rules

docs: $(VENV)/.ready ## generate the configuration reference, its schema and the drawing of the DAG
	@$(RUN) python -m caneft.commands.reference

# The pictures of the docs, from a finished demo; Chromium takes that of the report.
CHROMIUM ?= $(shell command -v chromium || command -v chromium-browser || command -v google-chrome)
images: ## take the README's pictures from a finished demo
	@mkdir -p docs/images && cp $(addprefix results/figures/,scores.png importance_information.png stability.png) docs/images/
	@[ -n "$(CHROMIUM)" ] || { echo "No Chromium: docs/images/report.png stays as it is"; exit 0; } && "$(CHROMIUM)" --headless --no-sandbox \
	  --disable-gpu --window-size=1100,1500 --screenshot=docs/images/report.png results/overview.html 2> /dev/null

$(VENV)/.ready: requirements.txt
	@"$(or $(PYTHON),false)" -c '$(SUITS)' 2>/dev/null || { echo "Python 3.11 or 3.12 is needed; found:" \
	  "$$("$(or $(PYTHON),python3)" --version 2>/dev/null || echo none). Name one: make PYTHON=/path/to/python3.12 ..."; exit 1; }
	@echo "Installing the environment into $(VENV) (a few minutes, once)"
	@"$(PYTHON)" -m venv $(VENV)
	@$(RUN) python -m pip install -q $(TORCH)
	@$(RUN) python -m pip install -q -r requirements.txt
	@$(RUN) python -m pip install -q --no-deps --no-build-isolation -e .
	@touch $@

# The lock is what requirements.in resolves to, without torch's own packages, which differ with the machine. It also pins
# conda's environments.
FREEZE := .venv-lock/bin/python -m pip freeze --all | sed 's/+[a-z0-9.]*$$//' | grep -viE '^(nvidia|triton|cuda|torch(vision|audio|codec)=|pip=|wheel=)'

lock: ## pin the environment anew
	@rm -rf .venv-lock && "$(PYTHON)" -m venv .venv-lock
	@. .venv-lock/bin/activate && python -m pip install -q $(TORCH) && python -m pip install -q -r requirements.in
	@{ head -n 2 requirements.txt; $(FREEZE); } > requirements.new && mv requirements.new requirements.txt
	@for file in train report; do .venv-lock/bin/python envs/complete.py envs/$$file.yaml requirements.txt || exit 1; done
	@rm -rf .venv-lock

# The same for an environment that cannot be part of the main one, from the pins that its file keeps by hand.
lock-comet: ## pin the environment of neural metrics anew
lock-vllm: ## pin the environment of vLLM anew
lock-comet lock-vllm: lock-%:
	@rm -rf .venv-lock && "$(PYTHON)" -m venv .venv-lock
	@. .venv-lock/bin/activate && python -m pip install -q $(TORCH) \
	  && python envs/complete.py envs/$*.yaml > .venv-lock/pins && python -m pip install -q -r .venv-lock/pins
	@{ head -n 1 envs/$*.txt; $(FREEZE); } > $*.new && mv $*.new envs/$*.txt
	@.venv-lock/bin/python envs/complete.py envs/$*.yaml envs/$*.txt && rm -rf .venv-lock

clean: ## delete results/ and .snakemake/
	rm -rf results .snakemake
