"""A patch as a LoRA adapter, exact in float32.

W' = W + B A. If rows of W change, A holds their differences, and one-hot columns of B say which rows they are; if
columns change, it is the reverse. So the rank of a module is its number of changed lines, and alpha equals the rank.
"""

from collections import defaultdict
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save as serialised

from caneft.errors import InputError
from caneft.models.ffn import ROWS
from caneft.patch.card import NAME, card
from caneft.patch.form import Patch, read
from caneft.patch.hashing import check_replaced, unit_hashes
from caneft.patch.outputs import new_folder
from caneft.patch.weights import Place, find, model_folder, read_slices
from caneft.storage.files import write_json

Changes = dict[str, list[tuple[Place, torch.Tensor]]]


def export(base: str | Path, path: str | Path, out: str | Path, own_ranks: bool = False) -> Patch:
    """Writes a PEFT adapter to the folder `out`, which makes the base, loaded in the patch's dtype, the patched model.

    base: a model folder or a model's manifest.json. own_ranks: whether each module has only the rank that it needs, by
    patterns, which PEFT and vLLM read. Otherwise all have the highest, padded with zeros, for servers that ignore
    patterns: llama.cpp would silently scale wrongly. Raises InputError for another base, or if `out` exists.
    """
    (folder, pickled), patch = model_folder(base), read(path)
    if not len(patch.neurons):
        raise InputError(f"{path} changes nothing, and an adapter without modules cannot be loaded")
    places = find(folder, str(path), patch, pickled)
    present = read_slices(places, patch.dtype)
    check_replaced(str(path), patch, unit_hashes(patch.neurons, present, patch.axes))
    changes: Changes = defaultdict(list)
    for of_layer, old, new in zip(places, present, patch.slices, strict=True):
        for name, place in of_layer.items():
            changes[place.module].append((place, new[name].float() - old[name].float()))
    ranks_needed = {module: sum(len(place.lines) for place, _ in of_module) for module, of_module in changes.items()}
    given = ranks_needed if own_ranks else dict.fromkeys(ranks_needed, max(ranks_needed.values()))
    tensors = {}
    for module, of_module in changes.items():
        a, b = _factors(of_module, given[module])
        tensors[f"base_model.model.{module}.lora_A.weight"] = a
        tensors[f"base_model.model.{module}.lora_B.weight"] = b
    with new_folder(out) as beside:
        (beside / "adapter_model.safetensors").write_bytes(serialised(tensors, {"format": "pt"}))
        write_json(beside / "adapter_config.json", _config(patch, given))
        (beside / NAME).write_text(card(patch, path, folder, Path(out).name, "peft"), encoding="utf-8")
    return patch


def _factors(changes: list[tuple[Place, torch.Tensor]], rank: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A (rank, in_features) and B (out_features, rank), float32, of one module, which may contain both gate and up."""
    projection = changes[0][0].projection
    lines = torch.cat([torch.from_numpy(place.lines) for place, _ in changes])
    delta = torch.cat([difference for _, difference in changes], projection.axis)
    used, zeros = torch.arange(len(lines)), rank - len(lines)
    if projection.axis == ROWS:
        where = torch.zeros(projection.linear.out_features, rank)
        where[lines, used] = 1
        return F.pad(delta, (0, 0, 0, zeros)), where
    where = torch.zeros(rank, projection.linear.in_features)
    where[used, lines] = 1
    return where, F.pad(delta, (0, zeros)).contiguous()


def _config(patch: Patch, ranks: dict[str, int]) -> dict:
    """PEFT's configuration. ranks: by module; alpha equals them, so servers scale by 1."""
    most = max(ranks.values())
    others = {module: rank for module, rank in ranks.items() if rank != most}
    revision = patch.base.get("revision")
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        # only hub models have revisions; PEFT would look for the name of a folder on the hub in vain
        "base_model_name_or_path": patch.base.get("id") if revision else None,
        "revision": revision,
        "r": most,
        "lora_alpha": most,
        "rank_pattern": others,
        "alpha_pattern": others,
        "target_modules": sorted(ranks),
        "lora_dropout": 0.0,
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
        "init_lora_weights": True,
    }
