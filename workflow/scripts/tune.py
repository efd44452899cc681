"""Fine-tune a base model by one method on one mixture."""

import argparse
import shutil
import sys
from pathlib import Path

from caneft.config import Full, device_map
from caneft.plan import Run
from caneft.plan.settings import TuneSettings
from caneft.runtime import launching, parallel
from caneft.runtime.cli import step
from caneft.storage import records
from caneft.storage.kept import Kept
from caneft.tuning.running import Job, tune


def parse_arguments() -> Job:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--settings", type=TuneSettings.model_validate_json, required=True)
    add("--run", type=Run.parse, required=True, help="model/direction/mixture/variant/seedN or .../lrRATE")
    add("--seed", type=int, required=True, help="of the order of training and of new weights")
    add("--choice", type=Path, help="choice.json of the learning rate, where the method has a grid")
    add("--manifest", type=Path, required=True)
    add("--train", type=Path, required=True)
    add("--dev", type=Path, required=True)
    add("--neurons", type=Path, help="neuron set, for neuron methods and LoRA of their size")
    add("--threads", type=int, default=1)
    add("--gpus", type=int, default=0, help="more than one: a process each, unless --device-map")
    add("--nodes", type=int, default=1, help="of the Slurm job; without GPUs, a process each")
    add("--checkpoint-seconds", type=float, default=300, help="time between checkpoints; 0: each step")
    add("--device-map", type=device_map, default="none", help="how to spread a model that one GPU does not hold")
    add("--out", type=Path, required=True, help="the run's folder")
    return Job(**vars(parser.parse_args()))


@step
def main() -> None:
    job = parse_arguments()
    # The weights of `full` are too large to keep, and `full` has its own allocation.
    kept = Kept(job.out, "", job.inputs, wanted=not isinstance(job.settings.method, Full))
    if not parallel.launched() and kept.take():
        shutil.rmtree(job.out / ".checkpoint", ignore_errors=True)
        return
    if job.processes > 1 and not parallel.launched():
        module, spread = "workflow.scripts.tune", (job.nodes, job.threads)
        sys.exit(launching.launch(module, sys.argv[1:], job.processes, "tuning", *spread))
    team = parallel.join(job.processes)
    with records.cost(job.out / "cost.json", "tuning", job.threads, team):
        checkpoints = tune(job, team)
    if team.main:
        kept.save(path for path in job.out.iterdir() if path.is_file() and not path.name.startswith("."))
    checkpoints.discard()  # last, so that a job killed before this can resume
    team.leave()


if __name__ == "__main__":
    main()
