"""From the configuration to the plan: names, constraints, paths and functions that rules call. No rules here."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.settings.types import DeploymentMethod

# The workflow's folder, wherever it runs. The package is imported from there, installed or not.
HOME = Path(workflow.current_basedir.get_path_or_uri(secret_free=False)).resolve().parent
sys.path.insert(0, str(HOME))

from caneft import config as configuration
from caneft.commands import checking, held
from caneft.config import DEVICE_MAPS, Adapters, Full, Icl, Lora, Neurons
from caneft.errors import InputError
from caneft.models import memory
from caneft.plan import ARTEFACTS, DEV, TEST, Plan, Run, comparison, importance_folder, information_folder, needs, parts
from caneft.reporting import inputs, listing, shown
from caneft.runtime.command_line import refuse_repeated
from caneft.storage import integrity
from caneft.storage.files import split_archive

try:
    if workflow.exec_mode == workflow.exec_mode.DEFAULT:
        refuse_repeated(sys.argv[1:])
    # A job on a cluster node may not see the raw corpora, and does not need to.
    CONFIG = checking.checked(config, workflow.configfiles, here=not workflow.remote_exec)
except InputError as error:
    raise WorkflowError(str(error))

PLAN = Plan(CONFIG)
ON_ONE_MACHINE = workflow.resource_settings.nodes is None and workflow.exec_mode == workflow.exec_mode.DEFAULT
MEMORY = memory.Memory(PLAN, 0 if ON_ONE_MACHINE else memory.SNAKEMAKES)


# Jobs import the package from here, in whatever folder they run.
configuration.publish_package(HOME)

# Steps find raw corpora by this variable. No result depends on their place, so it is in no job's params.
configuration.publish_data_root(CONFIG)

# The draw of a mixture also checks what importance will need, so that one message names all that is too small.
needs.publish_samples(CONFIG)

# Steps do not check the checksums of files above this size.
integrity.publish_limit(CONFIG.verify_up_to_gb)

# Jobs work offline. Rules that fetch restore the user's setting: HF_HUB_OFFLINE=$CANEFT_HF_HUB_OFFLINE.
configuration.work_offline()


pathvars:
    results=CONFIG.results_root,
    logs=f"{CONFIG.results_root}/logs",
    benchmarks=f"{CONFIG.results_root}/benchmarks",


def here(path):
    """A file of the workflow, for jobs: relative, so that results do not depend on the clone's place."""
    return os.path.relpath(HOME / path)


def module_of_script(wildcards, input):
    """Params function: the script of a job, as `python -m` knows it."""
    return f"workflow.scripts.{Path(input.script).stem}"


def one_of(names):
    """Regular expression that matches exactly these names; nothing if there are none."""
    return "|".join(map(re.escape, sorted(set(names)))) or "(?!)"


DRAWS = [None, *PLAN.own_draws()]  # of importance samples: the shared one, and one for each seed that has its own
FOLDERS = {
    name: {named(unit, seed): (unit, seed) for unit in ("neuron", "head") for seed in DRAWS}
    for name, named in (("dumps", importance_folder), ("units", information_folder))
}  # by wildcard: what is in a folder
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
    split=one_of([DEV, TEST]),


# --- functions that rules call --------------------------------------------------------------------------------------


def of(function, *names):
    """Params function: JSON of the settings that `function` takes from the configuration for a job's wildcards."""

    def settings_of(wildcards):
        return function(CONFIG, *(getattr(wildcards, name) for name in names)).model_dump_json()

    return settings_of


def optional(option, name):
    """Params function: an option with the input of that name, quoted for the shell; nothing if there is none."""
    return lambda wildcards, input: f"{option} {shlex.quote(input[name])}" if input[name] else ""


def growing(amount):
    """Resource function: the amount times the number of the try, so a job that was killed gets more."""
    return lambda wildcards, attempt: amount * attempt


def resource_of(name, grows=False):
    """Resource function: the value under `models.*.resources` of the job's model; `grows`: as with `growing`."""
    return lambda wildcards, attempt: getattr(CONFIG.models[wildcards.model].resources, name) * (
        attempt if grows else 1
    )


def over_nodes(resources_of):
    """Resources of a job that several nodes may share, as Slurm's executor wants them; `mpi` leaves srun to the job.

    resources_of: the configuration's resources of a job, by its wildcards.
    """

    def of(value):
        return lambda wildcards: value(resources_of(wildcards))

    if ON_ONE_MACHINE:
        return {"nodes": 1, "gpu": of(lambda asked: asked.gpu)}
    return {
        "nodes": of(lambda asked: asked.nodes),
        "gpu": of(lambda asked: asked.nodes * asked.gpu),
        "mpi": of(lambda asked: "srun" if asked.nodes > 1 else None),
        "tasks": of(lambda asked: asked.nodes if asked.nodes > 1 >= asked.gpu else None),
        "tasks_per_node": of(lambda asked: asked.gpu if asked.nodes > 1 < asked.gpu else None),
        "tasks_per_gpu": of(lambda asked: 0 if asked.nodes > 1 else None),  # otherwise `tasks` would count for it
    }


def device_map(resources):
    """How a job's model is spread over its GPUs, as a number, because Snakemake adds up the resources of a group."""
    return DEVICE_MAPS.index(resources.device_map)


def memory_of(stage, *names):
    """Resource function: memory of a job of this stage, by these wildcards; it grows with each try."""
    return lambda wildcards, attempt: attempt * getattr(MEMORY, stage)(*(getattr(wildcards, name) for name in names))


def run_of(wildcards):
    """The run that a tuning, translation or scoring job belongs to."""
    parts = "mixture", "variant", "attempt"
    name = wildcards.get("run") or "/".join(getattr(wildcards, part) for part in parts)
    return Run.parse(f"{wildcards.model}/{wildcards.direction}/{name}")


def block_of(wildcards):
    return wildcards.model, wildcards.direction, wildcards.mixture


# --- what the aggregates need ---------------------------------------------------------------------------------------


def under_results(paths):
    """The plan's paths as the rules know them."""
    return sorted({f"<results>/{path}" for path in paths})


def root(*parts):
    return Path(CONFIG.results_root, *parts)
