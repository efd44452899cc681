"""From the configuration to the plan: names, constraints, paths and the functions that rules ask. No rules here."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.logging import logger
from snakemake.settings.types import DeploymentMethod

HOME = (
    Path(workflow.current_basedir.get_path_or_uri(secret_free=False)).resolve().parent
)  # of the workflow, whatever folder it is run in
sys.path.insert(0, str(HOME))  # the package beside the Snakefile, installed or not
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(HOME), os.environ.get("PYTHONPATH")]))  # ... in jobs too

from caneft.commands import checking
from caneft.plan import comparison, needs, settings
from caneft.storage import integrity
from caneft.runtime import lease
from caneft import config as configuration
from caneft.config import Adapters, Full, Icl, Lora, Neurons
from caneft.errors import InputError
from caneft.storage.files import split_archive
from caneft.plan import ARTEFACTS, DEV, Plan, Run, importance_folder, information_folder
from caneft.reporting import inputs, listing, shown

try:
    # A job on a cluster node may not see the raw corpora; it has no need to.
    CONFIG = checking.checked(config, workflow.configfiles, here=not workflow.remote_exec)
except InputError as error:
    raise WorkflowError(str(error))

PLAN = Plan(CONFIG)


def check_resource_names():
    """A misspelt `gpu` is asked for nowhere: jobs would land on a CPU without a word."""
    given = workflow.resource_settings
    places = {"--resources": given.resources, "--default-resources": given.default_resources or {}}
    places |= {f"--set-resources of {rule}": names for rule, names in given.overwrite_resources.items()}
    for place, names in places.items():
        for name in names:
            if name != "gpu" and name.lower().rstrip("s") == "gpu":
                raise WorkflowError(
                    f"{place}, here or in a profile, names the resource '{name}', which nothing knows."
                    " It is called 'gpu'."
                )


def limit_gpus():
    """On one machine, no more jobs run at a time than it has GPUs for. A given `--resources gpu=N` counts instead.

    Snakemake cuts what is above the limit down to it without a word; here that is an error, but for a limit of 0, which
    puts all jobs on the CPU.
    """
    asked = checking.gpus_asked_for(CONFIG)
    for rule, names in workflow.resource_settings.overwrite_resources.items():
        # Of an expression, which depends on the job, nothing is known yet.
        if str(given := getattr(names.get("gpu"), "value", names.get("gpu"))).isdigit():
            asked[f"--set-resources {rule}:gpu"] = int(given)
    clustered = workflow.resource_settings.nodes is not None or workflow.exec_mode != workflow.exec_mode.DEFAULT
    if clustered or not any(asked.values()):
        return
    if "gpu" in workflow.global_resources:
        limit, reason = workflow.global_resources["gpu"].value, "--resources gpu lets jobs use"
    else:
        limit, reason = len(lease.usable(os.environ)), "nvidia-smi and CUDA_VISIBLE_DEVICES leave"
        if not limit:
            logger.warning(checking.without_gpu(asked))
        # Not part of Snakemake's interface; the lease works without.
        if limit and hasattr(workflow, "register_resource"):
            workflow.register_resource("gpu", limit)
    for key, count in asked.items():
        if count > limit > 0:
            raise WorkflowError(f"{key} is {count}, but {reason} {limit} on this machine. Set it to {limit} at most.")


check_resource_names()
limit_gpus()

# Steps find raw corpora by this variable: where they lie belongs to no result, so it is in no job's params.
configuration.publish_data_root(CONFIG)

# The draw of a mixture finds what importance will need of its domains, and says all that is too few at once.
needs.publish_samples(CONFIG)

# So they find what is too large to be compared with its checksum each time it is read.
integrity.publish_limit(CONFIG.verify_up_to_gb)

# Jobs work on what was fetched. Rules that fetch put back what the user had set: HF_HUB_OFFLINE=$CANEFT_HF_HUB_OFFLINE.
configuration.work_offline()


pathvars:
    results=CONFIG.results_root,
    logs=f"{CONFIG.results_root}/logs",
    benchmarks=f"{CONFIG.results_root}/benchmarks",


def here(path):
    """A file of the workflow, for jobs: relative, so that results do not depend on where the clone lies."""
    return os.path.relpath(HOME / path)


def module_of_script(wildcards, input):
    """Params function: the script of a job, as `python -m` knows it."""
    return f"workflow.scripts.{Path(input.script).stem}"


def one_of(names):
    """Regular expression that matches exactly these names; none of them, nothing."""
    return "|".join(map(re.escape, sorted(set(names)))) or "(?!)"


def corpora(with_training):
    """`{direction}/{domain}` of the domains that have training data, or of those that have not."""
    return [
        f"{direction}/{domain}"
        for direction, entry in CONFIG.directions.items()
        for domain, corpus in entry.domains.items()
        if (corpus.train is not None) == with_training
    ]


MOST_LOST = 200  # asking for thousands of files makes a plan slow
DRAWS = [None, *PLAN.own_draws()]  # of importance samples: the shared one, and those that seeds have of their own
FOLDERS = {
    name: {named(unit, seed): (unit, seed) for unit in ("neuron", "head") for seed in DRAWS}
    for name, named in (("dumps", importance_folder), ("units", information_folder))
}  # by wildcard: what is in a folder
FETCHED = dict(configuration.remote_sources(CONFIG))
TRAINED_METRICS = [name for name, metric in CONFIG.scoring.neural.items() if getattr(metric, "train", None)]
PRETRAINED = [name for name, model in CONFIG.models.items() if model.pretrain]
QUANTISED = [name for name, model in CONFIG.models.items() if model.quantised]
VENVS = os.environ.get("CANEFT_VENVS", ".venvs")
WITH_CONDA = DeploymentMethod.CONDA in getattr(workflow.deployment_settings, "deployment_method", ())


def comet_interpreter():
    """Python of neural metrics, which live in an environment of their own, and what says that it is there, if a job does.

    It is conda's, or one that the user names, or that of a virtual environment which rule comet_environment builds.
    """
    named = os.environ.get("CANEFT_COMET_PYTHON")
    if WITH_CONDA:
        return "python", []
    if not named:
        return f"{VENVS}/comet/bin/python", f"{VENVS}/comet/ready.json"
    has_comet = "import importlib.util, sys; sys.exit(importlib.util.find_spec('comet') is None)"
    if CONFIG.scoring.neural and subprocess.run([shutil.which(named) or "false", "-c", has_comet]).returncode != 0:
        raise WorkflowError(
            f"CANEFT_COMET_PYTHON is {named}, which is no Python that has unbabel-comet. Name that of an environment with"
            " the packages of envs/comet.txt, or unset it: the workflow then builds that environment."
        )
    return named, []


COMET_PYTHON, COMET_ENVIRONMENT = comet_interpreter()
ATTEMPT = r"(?:lr[\d.e+-]+-)?seed\d+"
RUN = (
    rf"({one_of(PLAN.variants(configuration.Base))})|({one_of(CONFIG.mixtures)})/({one_of(PLAN.variants(Icl))})"
    rf"|({one_of(CONFIG.mixtures)})/({one_of(PLAN.variants(*ARTEFACTS))})/({ATTEMPT})"
)


wildcard_constraints:
    model=one_of(CONFIG.models),
    direction=one_of(CONFIG.directions),
    domain=one_of(domain for entry in CONFIG.directions.values() for domain in entry.domains),
    mixture=one_of(CONFIG.mixtures),
    variant=one_of(CONFIG.methods),
    attempt=ATTEMPT,
    draw=r"\d+",
    run=RUN,
    dumps=one_of(FOLDERS["dumps"]),
    units=one_of(FOLDERS["units"]),
    metric=one_of(CONFIG.scoring.neural),
    testset=one_of(["seen", "dev", *(domain for entry in CONFIG.directions.values() for domain in entry.domains)]),


# --- what rules ask the plan ----------------------------------------------------------------------------------------


def of(function, *names):
    """Params function: JSON of the settings that `function` takes from the configuration for a job's wildcards."""

    def settings_of(wildcards):
        return function(CONFIG, *(getattr(wildcards, name) for name in names)).model_dump_json()

    return settings_of


def optional(option, name):
    """Params function: an option with the input of that name, quoted for the shell; nothing where there is none."""
    return lambda wildcards, input: f"{option} {shlex.quote(input[name])}" if input[name] else ""


def growing(amount):
    """Resource function: so much, and at each further try once more of it. What a cluster killed is tried with more."""
    return lambda wildcards, attempt: amount * attempt


def resource_of(name, grows=False):
    """Resource function: what the job's model asks for under `models.*.resources`; `grows`: as `growing`."""
    return lambda wildcards, attempt: getattr(CONFIG.models[wildcards.model].resources, name) * (
        attempt if grows else 1
    )


def gpus_of_one(wildcards):
    """Resource function: GPUs of a job that is one process; more than one only where they hold the model together."""
    resources = CONFIG.models[wildcards.model].resources
    return min(1, resources.gpu) if resources.device_map == "none" else resources.gpu


def metric_resource(name, grows=False):
    """As `resource_of`, of a scoring job, by its neural metric."""
    return lambda wildcards, attempt: getattr(CONFIG.scoring.neural[wildcards.metric].resources, name) * (
        attempt if grows else 1
    )


def model_settings(wildcards):
    """Params function: JSON of where a model comes from and what it may do when it is loaded."""
    parts = {"hub", "revision", "path", "trust_remote_code", "allow_pickle"}
    return CONFIG.models[wildcards.model].model_dump_json(include=parts)


def quantised_settings(wildcards):
    """Params function: JSON of where a GGUF file is, and of the dtype that its weights get."""
    return CONFIG.models[wildcards.model].model_dump_json(include={"path", "package", "dtype"})


def raw_model(wildcards):
    """Input function: the GGUF file of a model; one in a package is none of the workflow's files."""
    path = CONFIG.models[wildcards.model].path
    return [] if path is None else str(configuration.resolver(configuration.data_root(CONFIG))(path))


def tuning_resource(name, grows=False):
    """As `resource_of`, of a tuning job, whose variant may ask for something else than its model."""
    return lambda wildcards, attempt: getattr(PLAN.tuning_resources(wildcards.model, wildcards.variant), name) * (
        attempt if grows else 1
    )


def domain_entry(wildcards):
    """Configuration of the domain that a corpus job prepares."""
    direction, domain = wildcards.corpus.split("/")
    return CONFIG.directions[direction].domains[domain]


def corpus_settings(wildcards):
    return settings.corpus(CONFIG, *wildcards.corpus.split("/")).model_dump_json()


def raw_files(source):
    """Files that a corpus source reads, of which an archive is one; none for built-in corpora."""
    resolve = configuration.resolver(configuration.data_root(CONFIG))
    return [str(file) for file in dict.fromkeys(split_archive(resolve(path))[0] for path in source.paths())]


def raw_corpus(wildcards):
    entry = domain_entry(wildcards)
    return [file for split in (entry.train, entry.dev, entry.test) if split for file in raw_files(split)]


def fetched(corpus):
    """What was downloaded for a corpus, if anything has to be."""
    return [f"<results>/corpora/{corpus}/fetched.json"] if corpus in FETCHED else []


def raw_pretraining(wildcards):
    return [file for corpus in CONFIG.models[wildcards.model].pretrain.corpora for file in raw_files(corpus.corpus)]


def raw_metric_pairs(wildcards):
    corpora = CONFIG.scoring.neural[wildcards.metric].train.corpora
    return [file for corpus in corpora for file in raw_files(corpus.corpus)]


def mixture_corpora(wildcards):
    return [
        f"<results>/corpora/{wildcards.direction}/{domain}/{split}.jsonl"
        for domain in PLAN.seen(wildcards.direction, wildcards.mixture)
        for split in ("train", "dev", "test")
    ]


def mixture_dumps(suffix):
    """Input function: importance dumps (or what stands beside them) of a mixture's domains."""

    def paths(wildcards):
        dumps = importance_folder(*FOLDERS["units"][wildcards.get("units", "neurons")])
        folder = f"<results>/{dumps}/{wildcards.model}/{wildcards.direction}"
        return [f"{folder}/{domain}{suffix}" for domain in PLAN.seen(wildcards.direction, wildcards.mixture)]

    return paths


def deciding_domains(wildcards):
    """Domains on which `importance.samples: auto` is decided."""
    return PLAN.seen(wildcards.direction, PLAN.decided_on(wildcards.direction))


def deciding_corpora(wildcards):
    domains = deciding_domains(wildcards)
    return [f"<results>/corpora/{wildcards.direction}/{domain}/train.jsonl" for domain in domains]


def decided_samples(wildcards):
    """Input function of a dump: the number of samples, where it is decided by a pilot."""
    auto = CONFIG.importance.samples == "auto"
    return f"<results>/importance/{wildcards.model}/{wildcards.direction}/samples.json" if auto else []


def run_of(wildcards):
    """The run that a tuning, translation or scoring job belongs to."""
    parts = "mixture", "variant", "attempt"
    name = wildcards.get("run") or "/".join(getattr(wildcards, part) for part in parts)
    return Run.parse(f"{wildcards.model}/{wildcards.direction}/{name}")


def neurons_of_run(wildcards):
    """Input function of a tuning job: the neurons it tunes, or whose number it takes for its own."""
    path = PLAN.neuron_set(run_of(wildcards))
    return f"<results>/{path}" if path else []


def choice_of_run(wildcards):
    """Input function of a tuning job: the choice of its learning rate, where there is a grid."""
    path = PLAN.choice(run_of(wildcards))
    return f"<results>/{path}" if path else []


def tune_settings(wildcards):
    run = run_of(wildcards)
    return settings.tune(CONFIG, run.model, run.direction, run.variant, run.rate).model_dump_json()


def dump_settings(wildcards):
    drawn = FOLDERS["dumps"][wildcards.dumps]
    return settings.dump(CONFIG, wildcards.model, wildcards.direction, *drawn).model_dump_json()


def translation_settings(wildcards):
    run = run_of(wildcards)
    return settings.translation(CONFIG, run.model, run.direction, run.variant).model_dump_json()


def score_settings(wildcards):
    return settings.score(CONFIG, wildcards.direction).model_dump_json()


def trials_of(wildcards):
    """The trials behind the choice of a rate."""
    return list(PLAN.trials_of(wildcards.model, wildcards.direction, wildcards.variant, wildcards.mixture))


def of_trials(file):
    """Input function of the choice of a rate: a file of each of its trials, in their order."""
    return lambda wildcards: [f"<results>/{trial.folder}/{file}" for trial in trials_of(wildcards)]


def like(wildcards):
    """Input function of a selection: the neuron set whose numbers per layer it takes."""
    other = CONFIG.methods[wildcards.variant].layers_of
    if other is None:
        return []
    draw = wildcards.draw if CONFIG.methods[other].method == "random" else 0
    folder = f"<results>/{wildcards.units}/{wildcards.model}/{wildcards.direction}/{wildcards.mixture}"
    return f"{folder}/{other}/draw{draw}.npz"


def examples_of_run(wildcards):
    """Input function of a translation: the pairs that examples in the prompt are taken from."""
    run = run_of(wildcards)
    shows = isinstance(CONFIG.methods[run.variant], Icl)
    return f"<results>/mixtures/{run.direction}/{run.mixture}/train.jsonl" if shows else []


def adapted(wildcards):
    """What a run's tuning left; nothing for the base."""
    artefact = PLAN.artefact(run_of(wildcards))
    return f"<results>/{artefact}" if artefact else []


def testset_domains(wildcards):
    return PLAN.testsets(run_of(wildcards))[wildcards.testset]


def testset_corpora(wildcards):
    return [f"<results>/{path}" for path in PLAN.test_corpora(run_of(wildcards), wildcards.testset)]


def run_translations(wildcards):
    """Input function: the translations of every test set of a final run."""
    run = run_of(wildcards)
    return [f"<results>/{run.folder}/translations/{testset}.jsonl" for testset in PLAN.final_testsets(run)]


def run_corpora(wildcards):
    """Input function: the test corpora of the same, domain by domain."""
    run = run_of(wildcards)
    return [f"<results>/{path}" for testset in PLAN.final_testsets(run) for path in PLAN.test_corpora(run, testset)]


def tested_corpora(wildcards):
    """Input function: the test corpora of all domains that a direction is tested on."""
    return [
        f"<results>/corpora/{wildcards.direction}/{domain}/test.jsonl"
        for domain in PLAN.all_tested(wildcards.direction)
    ]


def runs_of_block(wildcards):
    """Runs of the block that a job scores without overlap, sorted by name."""
    runs = inputs.block_runs(PLAN, (wildcards.model, wildcards.direction, wildcards.mixture))
    return sorted(runs, key=lambda run: run.name)


def block_of(wildcards):
    return wildcards.model, wildcards.direction, wildcards.mixture


def compared_files(wildcards):
    """Input function: what the tests of significance of a block read."""
    return [f"<results>/{path}" for path in comparison.inputs(PLAN, block_of(wildcards))]


def block_translations(wildcards):
    """Input function: what these runs made of a domain outside of their mixture."""
    return [f"<results>/{run.folder}/translations/{wildcards.domain}.jsonl" for run in runs_of_block(wildcards)]


# --- what the aggregates need ---------------------------------------------------------------------------------------


def under_results(paths):
    """The plan's paths as the rules know them."""
    return sorted({f"<results>/{path}" for path in paths})


def every_dump():
    """Importance dumps of all domains that neurons are selected on; none where no variant selects any."""
    dumps = {
        f"{importance_folder(unit, seed)}/{model}/{direction}/{domain}.npy"
        for model, direction, mixture in PLAN.blocks()
        for unit in inputs.units(PLAN, (model, direction, mixture))
        for seed in DRAWS
        for domain in PLAN.seen(direction, PLAN.selected_on(direction, mixture))
    }
    return under_results(dumps)


def every_overlap():
    """Flags of every test set outside of a mixture that its runs are tested on."""
    pairs = [(direction, mixture) for direction in CONFIG.directions for mixture in PLAN.mixtures(direction)]
    return under_results(f"mixtures/{d}/{m}/overlap/{domain}.json" for d, m in pairs for domain in PLAN.unseen(d, m))


def every_selection():
    """Information tables, neuron sets and stability curves of all runs."""
    kinds = (inputs.information_files, inputs.neuron_files, inputs.stability_files)
    return under_results(file.path for files in kinds for file in files(PLAN))


# The report sorts categories by their names, and what is in them by their labels.
SHOWN = ("overview", "tables", "figures", "examples")
CATEGORIES = {name: f"{place}. {name.capitalize()}" for place, name in enumerate(SHOWN, start=1)}


def labelled(listed, kind, name):
    """Labels of a table or figure: its place in its list, by which the report sorts, and its name."""
    return {"#": f"{list(listed).index(name) + 1:02}", kind: listed[name]}


def table(name):
    """Output files of a table; the HTML goes into the report."""
    caption, labels = f"../workflow/report/{name}.rst", labelled(listing.TABLES, "table", name)
    shown = report(f"<results>/tables/{name}.html", caption=caption, category=CATEGORIES["tables"], labels=labels)
    return [shown, *(f"<results>/tables/{name}{suffix}" for suffix in (".csv", ".md", ".tex"))]


def root(*parts):
    return Path(CONFIG.results_root, *parts)


def lost_results():
    """What the finished tables were made from and is not there any more, to be made again.

    Snakemake does not miss a file that only a finished job has read. Many at once are no loss: then the configuration
    has grown, and the tables are made anew in any case.
    """
    if not root("tables", "main.csv").exists():
        return []
    lost = [path for path in inputs.table_inputs(PLAN) if not root(path).exists()]
    return under_results(lost) if len(lost) <= MOST_LOST else []


def captions():
    """Texts of the report."""
    return sorted(here(str(path.relative_to(HOME))) for path in HOME.glob("workflow/report/*.rst"))


def figure(name):
    """Output files of a figure; the PNG goes into the report."""
    caption, labels = f"../workflow/report/{name}.rst", labelled(listing.FIGURES, "figure", name)
    shown = report(f"<results>/figures/{name}.png", caption=caption, category=CATEGORIES["figures"], labels=labels)
    return [shown, f"<results>/figures/{name}.svg", f"<results>/figures/{name}.pdf"]
