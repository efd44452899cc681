"""Which jobs share a Slurm job: Snakemake's groups. One machine has none, and plans faster without.

    runs_...       tuning, translations and scores of the final run of that name
    trial          the same of the trial of a rate, some trials together
    translation    translations and scores where tuning is a Slurm job of its own, as that of `full`, or there is none
    selection      information of a mixture's neurons, and every set that is selected by it
    choice, neural, overlap, shared, significance    short jobs of one kind, some together

The profile says how many are taken together (`group-components`). No job of a group waits for another group that waits for
a job of the first: hence trials, runs and choices are three.
"""

from caneft.storage.kept import WANTED as KEEP


# Jobs of a Slurm job take turns: each rule that is grouped asks for the one `turn`, in the head as in the Snakemakes
# inside of the Slurm job. So a Slurm job asks for what the largest of its jobs needs, not for the sum.
resource_scopes:
    turn="local",


if not ON_ONE_MACHINE and hasattr(workflow, "register_resource"):  # not part of Snakemake's interface
    workflow.register_resource("turn", 1)

# What a step has finished is kept where its Slurm job may be run again as a whole.
os.environ.pop(KEEP, None)
if workflow.remote_exec:
    os.environ[KEEP] = "1"


def grouped(group):
    """A rule's group, or the function that finds it, where a cluster runs its jobs; None on one machine."""
    return None if ON_ONE_MACHINE else group


def group_of_run(wildcards):
    """Group of a run's translations and scores. Slurm shows its name, so one of a single run has that run's name."""
    run = run_of(wildcards)
    if run.rate is not None:
        return "trial"
    return "_".join(Path(run.folder).parts) if tuned_in_group(run) else "translation"


def group_of_tuning(wildcards):
    """Group of a tuning job; None where it is a Slurm job of its own."""
    return group_of_run(wildcards) if tuned_in_group(run_of(wildcards)) else None


def tuned_in_group(run):
    """Whether a run is tuned by what its translations ask for too: few weights, on as many GPUs."""
    method = CONFIG.methods[run.variant]
    if not isinstance(method, configuration.Trained) or isinstance(method, Full):
        return False
    translating = memory.gpus_of_one(CONFIG.models[run.model].resources)
    return PLAN.tuning_resources(run.model, run.variant).gpu == translating
