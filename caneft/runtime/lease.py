"""Leases GPUs, so that jobs that share a machine use different ones.

    python -m caneft.runtime.lease --gpus 1 -- python -m workflow.scripts.tune ...

Snakemake counts GPUs but does not name them, so all jobs of a machine would compute on the first. This command waits
for the requested number of devices, names them in CUDA_VISIBLE_DEVICES and becomes the given command, so the variable
is set before torch is imported. A device is a locked file, which the kernel frees when the last process that has it
open ends, however it ends. The lock must survive `exec`, hence flock itself: filelock closes its file there.
"""

import argparse
import fcntl
import logging
import os
import re
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from caneft.errors import InputError
from caneft.runtime.cli import step
from caneft.runtime.devices import cpu_wanted

LOG = logging.getLogger(__name__)
LOOK = 0.1  # seconds between two checks of devices that are in use


class Device(NamedTuple):
    """A GPU: its name in CUDA_VISIBLE_DEVICES, and the id that is the same for every process of the machine."""

    name: str
    id: str


def machine() -> list[Device]:
    """NVIDIA GPUs that nvidia-smi lists, in its order; none if it is missing or fails."""
    if shutil.which("nvidia-smi") is None:
        return []
    try:
        done = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=60)
    except subprocess.TimeoutExpired:
        LOG.warning("nvidia-smi did not answer within a minute: no GPU is leased")
        return []
    return [Device(*found) for found in re.findall(r"^GPU (\d+): .*\(UUID: ([\w-]+)\)", done.stdout, re.MULTILINE)]


def usable(environment: Mapping[str, str]) -> list[Device]:
    """GPUs of the machine that CUDA_VISIBLE_DEVICES allows; none if accelerate's variable asks for the CPU.

    Like CUDA, accepts indices (here nvidia-smi's), UUIDs and beginnings of them, and ignores all after an unknown one.
    """
    if cpu_wanted():
        return []
    devices, names = machine(), environment.get("CUDA_VISIBLE_DEVICES")
    if names is None or not devices:
        return devices
    found = {}
    for name in map(str.strip, names.split(",")):
        ids = [d.id for d in devices if d.name == name or (name.startswith("GPU-") and d.id.startswith(name))]
        ids += [name] if re.fullmatch(r"MIG-[\w-]+", name) else []
        if len(ids) != 1:
            break
        found.setdefault(ids[0], Device(name, ids[0]))
    return list(found.values())


def lease(count: int, environment: Mapping[str, str], command: Sequence[str] = ()) -> dict[str, str]:
    """Waits for `count` GPUs, all or none, and holds them until this process and all that inherit its files have ended.

    command: what they are for, shown to those who wait. Returns the variables to set: none if no GPU is found, or if a
    scheduler or the user has already chosen. That is so if CUDA_VISIBLE_DEVICES names exactly `count` devices, or under
    Slurm, if it is missing or names fewer. An allocation of more devices is divided. With a count of 0, hides the
    machine's devices, unless Slurm or CUDA_VISIBLE_DEVICES says which there are.
    Raises InputError if there are fewer devices, except under Slurm.
    """
    chosen, slurm = "CUDA_VISIBLE_DEVICES" in environment, "SLURM_JOB_ID" in environment
    if slurm and not chosen:
        return {}
    devices = usable(environment)
    if not devices or (count == 0 and chosen):
        return {}
    if count == 0:
        LOG.info("models.*.resources.gpu is 0: this job is for the CPU, though the machine has GPUs")
        return {"CUDA_VISIBLE_DEVICES": ""}
    if chosen and (len(devices) == count or (slurm and len(devices) < count)):
        return {}
    if len(devices) < count:
        raise InputError(
            f"{count} GPUs are asked for (models.*.resources.gpu), but this machine lets a job use {len(devices)}.\n"
            "Set gpu to that at most, or CUDA_VISIBLE_DEVICES so that it names more."
        )
    holder = f"process {os.getpid()} since {datetime.now():%d %b %H:%M:%S} ({' '.join(command[:3])})"
    mine = _wait(count, devices, leases(), holder)
    LOG.info("this job has GPU %s", ", ".join(device.name for device in mine))
    return {"CUDA_VISIBLE_DEVICES": ",".join(device.name for device in mine), "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}


def leases() -> Path:
    """The user's folder of locks: the variable CANEFT_LEASES, or one under /tmp. Creates it if it is missing.

    Not under TMPDIR or XDG_RUNTIME_DIR, which differ between a user's sessions and go with them: jobs with different
    folders would not see each other's locks. Raises InputError if it belongs to somebody else.
    """
    folder = Path(os.environ.get("CANEFT_LEASES") or f"/tmp/caneft-gpus-{os.getuid()}")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if folder.is_symlink() or folder.stat().st_uid != os.getuid():
        raise InputError(f"{folder}: belongs to somebody else. Name a folder on a local disk: CANEFT_LEASES=FOLDER")
    return folder


def _wait(count: int, devices: Sequence[Device], folder: Path, holder: str) -> list[Device]:
    """Waits for devices and returns them. First come, first served, so small requests cannot keep a large one waiting.

    Each device has a turnstile, which a process locks before it looks for devices. All processes lock turnstiles in the
    same order, and none that holds devices waits for a turnstile, so there is no deadlock.
    """
    turnstiles = [_lock(folder / f"{identity}.queue", holder, wait=True) for identity in sorted(d.id for d in devices)]
    said = False
    while True:
        mine = _free(count, devices, folder, holder)
        if mine:
            break
        if not said:
            held = "; ".join(f"{d.name} by {_holder(folder / f'{d.id}.lock')}" for d in devices)
            LOG.info("waiting for %d of the GPUs %s. In use: %s", count, ", ".join(d.name for d in devices), held)
            said = True
        time.sleep(LOOK)
    for turnstile in turnstiles:
        os.close(turnstile)
    for handle in mine.values():
        os.set_inheritable(handle, True)
    return list(mine)


def _free(count: int, devices: Sequence[Device], folder: Path, holder: str) -> dict[Device, int]:
    """`count` devices with their locked files, or none."""
    mine: dict[Device, int] = {}
    for device in devices:
        if len(mine) < count and (handle := _lock(folder / f"{device.id}.lock", holder)) is not None:
            mine[device] = handle
    if len(mine) == count:
        return mine
    for handle in mine.values():
        os.close(handle)
    return {}


def _lock(path: Path, holder: str, wait: bool = False) -> int | None:
    """Descriptor of the locked file, into which it writes the holder; None if another has it and `wait` is false."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        if not wait:
            os.close(handle)
            return None
        LOG.info("waiting for a GPU, behind %s", _holder(path))
        fcntl.flock(handle, fcntl.LOCK_EX)
    os.ftruncate(handle, 0)
    os.pwrite(handle, holder.encode(), 0)
    return handle


def _holder(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else "nobody"


@step
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gpus", type=int, required=True, help="how many; 0: none, the command is to see no GPU")
    parser.add_argument("command", nargs="+", help="what is run with them, after --")
    args = parser.parse_args()
    environment = os.environ | lease(args.gpus, os.environ, args.command)
    try:
        os.execvpe(args.command[0], args.command, environment)
    except FileNotFoundError:
        place = Path(args.command[0])
        raise InputError(
            f"{place}: is missing from its environment. Remove the folder {place.parent.parent} and run the same"
            " command again; it rebuilds the folder."
        ) from None


if __name__ == "__main__":
    main()
