"""How many jobs run side by side: what GPUs and memory of one machine allow. A cluster counts its own."""

import os

from snakemake.logging import logger

from caneft.commands import checking
from caneft.runtime import lease
from caneft.runtime.devices import bfloat16_units
from caneft.runtime.memory import limit_mb


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
    if not ON_ONE_MACHINE or not any(asked.values()):
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


def say_slow_dtype():
    """On one machine, whether its processor is a slow one for a model's dtype."""
    gpus = workflow.global_resources["gpu"].value if "gpu" in workflow.global_resources else 0
    if ON_ONE_MACHINE and (said := checking.slow_dtype(CONFIG, gpus, bfloat16_units())):
        logger.warning(said)


def limit_memory():
    """On one machine, jobs that run at a time ask for no more memory than it has, unless `--resources mem_mb=N` is given.

    Snakemake cuts what asks for more than the limit down to it: such a job runs alone.
    """
    if not ON_ONE_MACHINE:
        return
    if "mem_mb" in workflow.global_resources:
        limit = workflow.global_resources["mem_mb"].value
    else:
        limit = limit_mb()
        # Not part of Snakemake's interface; without it jobs are not counted.
        if hasattr(workflow, "register_resource"):
            workflow.register_resource("mem_mb", limit)
    if said := MEMORY.beyond(limit):
        logger.warning(said)


def lift_rate():
    """No limit of jobs a second, unless one is given: Snakemake's own, of 100, costs more than it saves.

    With it, every job that ends while others are ready lets Snakemake look for jobs once more in each second until its
    own end: 85 jobs of a minute made it look 3,300 times, and late in a run of thousands it does nothing else. The
    profile's `jobs` limits what a cluster has to bear.
    """
    scheduler = getattr(workflow, "scheduler", None)  # not part of Snakemake's interface
    limit = getattr(scheduler, "job_rate_limiter", None)
    if limit is not None and (limit.max_jobs, limit.timespan) == (100, 1):
        scheduler.job_rate_limiter = None


check_resource_names()
limit_gpus()
say_slow_dtype()
limit_memory()
