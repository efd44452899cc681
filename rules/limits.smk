"""Limits how many jobs run at a time on one machine, by its GPUs and memory. A cluster does this itself."""

import os

from snakemake.logging import logger

from caneft.commands import checking
from caneft.runtime import lease
from caneft.runtime.devices import bfloat16_units
from caneft.runtime.memory import limit_mb


def check_resource_names():
    """Refuses a misspelt `gpu`, with which jobs would silently run on the CPU."""
    given = workflow.resource_settings
    places = {"--resources": given.resources, "--default-resources": given.default_resources or {}}
    places |= {f"--set-resources of {rule}": names for rule, names in given.overwrite_resources.items()}
    for place, names in places.items():
        for name in names:
            if name != "gpu" and name.lower().rstrip("s") == "gpu":
                raise WorkflowError(
                    f"{place}, here or in a profile, names the resource '{name}', which no rule has."
                    " It is called 'gpu'."
                )


def limit_gpus():
    """Limits the jobs that run at a time to the machine's GPUs, or to `--resources gpu=N`.

    Snakemake silently cuts a request above the limit down to it. Here that is an error, unless the limit is 0, which
    puts all jobs on the CPU.
    """
    asked = checking.gpus_asked_for(CONFIG)
    for rule, names in workflow.resource_settings.overwrite_resources.items():
        # An expression depends on the job, so its value is not known yet.
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


def warn():
    """Warns of domains that read the same pairs and, on one machine, if its processor is slow in a model's dtype.

    Once: not in the Snakemake that runs a job on a cluster.
    """
    if workflow.exec_mode != workflow.exec_mode.DEFAULT:
        return
    gpus = workflow.global_resources["gpu"].value if "gpu" in workflow.global_resources else 0
    slow = checking.slow_dtype(CONFIG, gpus, bfloat16_units()) if ON_ONE_MACHINE else ""
    for said in (slow, checking.same_pairs(CONFIG)):
        if said:
            logger.warning(said)


def limit_memory():
    """Limits the memory of jobs that run at a time to the machine's, or to `--resources mem_mb=N`.

    Snakemake cuts a request above the limit down to it: such a job runs alone.
    """
    if not ON_ONE_MACHINE:
        return
    if "mem_mb" in workflow.global_resources:
        limit = workflow.global_resources["mem_mb"].value
    else:
        limit = limit_mb()
        # Not part of Snakemake's interface; without it memory is not counted.
        if hasattr(workflow, "register_resource"):
            workflow.register_resource("mem_mb", limit)
    if said := MEMORY.beyond(limit):
        logger.warning(said)


def lift_rate():
    """Lifts Snakemake's limit of 100 jobs a second, unless another limit is set.

    Under a limit, each job that ends while others are ready adds one search for jobs per second, until the run ends: 85
    jobs of a minute led to 3,300 searches, and late in a run of thousands Snakemake does nothing else. On a cluster, the
    profile's `jobs` limits the load.
    """
    scheduler = getattr(workflow, "scheduler", None)  # not part of Snakemake's interface
    limit = getattr(scheduler, "job_rate_limiter", None)
    if limit is not None and (limit.max_jobs, limit.timespan) == (100, 1):
        scheduler.job_rate_limiter = None


check_resource_names()
limit_gpus()
warn()
limit_memory()
