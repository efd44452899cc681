"""Greedy generation by vLLM, with the same prompts, limits and stops as by transformers (see `decoding`).

vLLM has its own environment, `envs/vllm.yaml`, in which the whole step then runs. It works in this process, so the same
sentences meet in a batch each time, its errors are seen here, and its memory is counted.
"""

import json
import math
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from caneft import config
from caneft.errors import InputError
from caneft.models import loading, memory
from caneft.models.resolving import architecture
from caneft.patch import ranks
from caneft.patch.merge import merge
from caneft.plan import ARTEFACTS
from caneft.plan.settings import TranslationSettings
from caneft.prompts import Prompts
from caneft.runtime import lease, machine
from caneft.storage.files import temporary_folder
from caneft.translation.decoding import CANNOT_HOLD, Task
from caneft.tuning import methods

EVERYWHERE = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_NO_USAGE_STATS": "1",
}
ON_CPU = {
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",  # else every job of a machine takes the same cores
    "TORCHDYNAMO_DISABLE": "1",  # compiling needs a C++ compiler and half a minute, and nothing here uses the result
}
STOPS = 128
"""Most tokens that vLLM's newer model runner, its choice on GPUs, can keep from beginning a text. It refuses a request
with more. Vocabularies have more tokens with a line break: SmolLM2 129, newer ones hundreds."""
CPU_BUILD = "vllm-cpu"
REMEDY = (
    "If the workflow has built that environment, remove the folder and run the same command again; else install"
    " envs/vllm.txt in it, or name another Python: CANEFT_VLLM_PYTHON (docs/serving.md)"
)
BLOCK = 128
"""Tokens in a block of vLLM's cache on a CPU."""


@dataclass(frozen=True)
class Place:
    """Where a model runs. device_map: unless it is "none", the model is divided among the visible GPUs."""

    device: torch.device
    device_map: str = "none"
    threads: int = 1


class NotServedError(Exception):
    """vLLM cannot serve a run; the message says why."""


@dataclass(frozen=True)
class Served:
    """What vLLM loads for a run: a model folder and, for a LoRA, the folder of its adapter and its rank."""

    folder: Path
    trust_remote_code: bool = False
    allow_pickle: bool = False
    adapter: Path | None = None
    rank: int = 0

    @property
    def options(self) -> dict[str, Any]:
        """Arguments of vLLM."""
        of_lora = {"enable_lora": True, "max_loras": 1, "max_lora_rank": ranks.told(self.rank)}
        return {
            "model": str(self.folder),
            "trust_remote_code": self.trust_remote_code,
            "load_format": "auto" if self.allow_pickle else "safetensors",
            **(of_lora if self.adapter else {}),
        }


@contextmanager
def served(
    manifest_file: Path, manifest: dict[str, Any], artefact: Path | None, dtype: str, merged: bool
) -> Iterator[Served]:
    """What vLLM loads for the base of a manifest, or for a run's artefact; arguments as for `methods.load`.

    A patch or a merged LoRA becomes a model folder in TMPDIR, with exactly the weights that transformers has in memory,
    until the block ends. Raises NotServedError for adapters and too high ranks, and InputError as `methods.load` does.
    """
    name = None if artefact is None else artefact.name
    if name == ARTEFACTS[config.Adapters]:
        raise NotServedError("it takes no bottleneck adapters")
    held = methods.held_by(manifest, artefact)
    trust, pickle = bool(held.get("trust_remote_code")), bool(held.get("allow_pickle"))
    as_it_is = Served(Path(held["folder"]), trust, pickle)
    if artefact is not None and name == ARTEFACTS[config.Lora] and not merged:
        loading.verify(held)
        rank = rank_of(artefact.parent)
        if ranks.told(rank) is None:
            raise NotServedError(f"it takes LoRA of ranks up to {ranks.OF_VLLM[-1]}, this one has {rank}")
        yield Served(as_it_is.folder, trust, pickle, artefact.parent, rank)
    elif artefact is None or name == ARTEFACTS[config.Full]:
        loading.verify(held)
        yield as_it_is
    else:
        with temporary_folder("caneft-merged-") as place:
            folder = place / "model"
            if name == ARTEFACTS[config.Lora]:
                whole = methods.load(manifest, dtype, torch.device("cpu"), artefact=artefact, merged=True).model
                whole.save_pretrained(folder)
                del whole  # vLLM loads it now
            else:
                loading.verify(held)
                merge(manifest_file, artefact, folder)
            yield Served(folder, trust)


def rank_of(folder: Path) -> int:
    """The highest rank of a LoRA's modules."""
    said = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    return max([said["r"], *(said.get("rank_pattern") or {}).values()])


@contextmanager
def _in_words() -> Iterator[None]:
    """Raises NotServedError with vLLM's message for whatever vLLM raises, except for errors that the machine causes."""
    try:
        yield
    except Exception as error:  # vLLM may raise anything, as it may not know the model
        if machine.in_words(error):
            raise
        raise NotServedError(f"{type(error).__name__}: {' '.join(str(error).split())[:500]}") from error


def start(
    serves: Served,
    manifest: dict[str, Any],
    settings: TranslationSettings,
    place: Place,
    prompts: Prompts,
    longest: int,
) -> Any:
    """vLLM with a model loaded. longest: most tokens of a sentence, its prompt included.

    Raises NotServedError if it cannot load the model, InputError if it cannot be imported, or if this is the build for
    CPUs and there is a GPU.
    """
    check_build()
    on_cpu = place.device.type == "cpu"
    os.environ.update({k: value for k, value in variables(place, prompts).items() if k not in os.environ})
    options = serves.options | {
        "dtype": settings.dtype,
        "skip_tokenizer_init": True,
        "generation_config": "vllm",
        "max_model_len": longest,
        "max_num_seqs": settings.decoding.batch_size,
        "seed": 0,
        "disable_log_stats": True,
    }
    if on_cpu:
        options |= {"enforce_eager": True, "kv_cache_memory_bytes": cache(manifest, settings, longest)}
    elif place.device_map != "none":
        options |= {"tensor_parallel_size": torch.cuda.device_count()}
    try:
        from vllm import LLM
    except ImportError as error:
        if machine.in_words(error):
            raise
        raise InputError(f"vLLM cannot be imported in {sys.prefix}: {error}. {REMEDY}") from error
    with _in_words():
        return LLM(**options)


def variables(place: Place, prompts: Prompts) -> dict[str, str]:
    """Environment variables for vLLM, which apply unless they are set already."""
    found = EVERYWHERE
    if place.device.type == "cpu":
        found = found | {"OMP_NUM_THREADS": str(place.threads)} | ON_CPU
    if prompts.form.never_first and len(prompts.form.stops) > STOPS:
        found = found | {"VLLM_USE_V2_MODEL_RUNNER": "0"}
    return found


def generate(model: Any, serves: Served, prompts: Prompts, task: Task) -> list[list[int]]:
    """Tokens after each prompt, at most its limit, including the one that ended it. model: from `start`.

    Raises NotServedError if vLLM cannot run the model, InputError for logits that are not finite.
    """
    stops, never_first = prompts.form.stops, prompts.form.never_first
    if never_first not in (frozenset(), stops):
        raise ValueError("what must not begin an answer is not what ends it")  # min_tokens can express nothing else
    with _in_words():
        from vllm import SamplingParams
        from vllm.lora.request import LoRARequest

        sampling = [
            SamplingParams(
                temperature=0,
                max_tokens=limit,
                min_tokens=1 if never_first else 0,
                stop_token_ids=sorted(stops),
                ignore_eos=True,
                detokenize=False,
                logprobs=0,
            )
            for limit in task.limits
        ]
        ids = [{"prompt_token_ids": list(example.prompt)} for example in task.prompts]
        adapter = LoRARequest("run", 1, str(serves.adapter)) if serves.adapter else None
        found = model.generate(ids, sampling, use_tqdm=False, lora_request=adapter)
    outputs = [output.outputs[0] for output in found]
    for number, output in enumerate(outputs, start=1):
        if not math.isfinite(output.cumulative_logprob):
            raise InputError(f"logits are not finite while translating, at source {number}; {CANNOT_HOLD}")
    return [list(output.token_ids) for output in outputs]


def longest(task: Task) -> int:
    """Most tokens of a prompt and what may follow it; 1 without prompts."""
    return max((len(prompt) + limit for prompt, limit in zip(*task, strict=True)), default=1)


def cache(manifest: dict[str, Any], settings: TranslationSettings, longest: int) -> int:
    """Bytes for keys and values of a full batch of the longest sentences, with a partly filled block for each."""
    shape = memory.of_config(architecture({"trust_remote_code": False} | manifest).to_dict())
    tokens = (settings.decoding.batch_size + 1) * (longest + BLOCK)
    return 2**30 if shape is None else math.ceil(shape.cache(tokens, memory.BYTES[settings.dtype]))


def installed() -> tuple[str, str]:
    """Name of the installed build of vLLM, and its version. Raises InputError if there is none."""
    for build in (CPU_BUILD, "vllm"):
        try:
            return build, version(build)
        except PackageNotFoundError:
            continue
    raise InputError(f"decoding.engine is vllm, which is not installed in {sys.prefix}. {REMEDY}")


def check_build() -> None:
    """Raises InputError if a GPU would be idle because vLLM's build for CPUs is installed."""
    build, number = installed()
    if build == CPU_BUILD and lease.usable(os.environ):
        raise InputError(
            f"this job has a GPU, but its environment has {build}, which uses none. Install vllm=={number} in an"
            " environment of your own and name its Python: CANEFT_VLLM_PYTHON (docs/serving.md)"
        )
