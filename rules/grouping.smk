"""Which jobs share a Slurm job: Snakemake's groups. On one machine there are none, because planning is faster without.

    runs_...       tuning, translations and scores of the final run of that name
    trial          the same for the trials of rates, some trials together
    translation    translations and scores of runs that are not tuned, or tuned in a separate Slurm job, like `full`
    selection      information on a mixture's neurons, and every set selected by it
    choice, neural, overlap, shared, significance    short jobs of one kind, some together

The profile says how many go together (`group-components`). Two groups must not wait for each other, so trials, runs
and choices are three groups.
"""

from caneft.storage.kept import WANTED as KEEP


# Jobs of a Slurm job take turns: each grouped rule asks for the one `turn`, in the main Snakemake and in those
# inside the Slurm job. So a Slurm job asks for what the largest of its jobs needs, not for the sum.
resource_scopes:
    turn="local",


if not ON_ONE_MACHINE and hasattr(workflow, "register_resource"):  # not part of Snakemake's interface
    workflow.register_resource("turn", 1)

# Steps keep what they have finished, because a Slurm job may be repeated as a whole.
os.environ.pop(KEEP, None)
if workflow.remote_exec:
    os.environ[KEEP] = "1"


def grouped(group):
    """A rule's group, or the function that finds it, if a cluster runs its jobs; None on one machine."""
    return None if ON_ONE_MACHINE else group


def group_of_run(wildcards):
    """Group of a run's translations and scores. Slurm shows its name, so a group of one run has that run's name."""
    run = run_of(wildcards)
    if run.rate is not None:
        return "trial"
    return "_".join(Path(run.folder).parts) if tuned_in_group(run) else "translation"


def group_of_tuning(wildcards):
    """Group of a tuning job; None if it is a separate Slurm job."""
    return group_of_run(wildcards) if tuned_in_group(run_of(wildcards)) else None


def tuned_in_group(run):
    """Whether a run's tuning needs the same as its translations: few weights, the same number of GPUs, one node."""
    method = CONFIG.methods[run.variant]
    if not isinstance(method, configuration.Trained) or isinstance(method, Full):
        return False
    translating = memory.gpus_of_one(CONFIG.models[run.model].resources)
    tuning = PLAN.tuning_resources(run.model, run.variant)
    return (tuning.gpu, tuning.nodes) == (translating, 1)
