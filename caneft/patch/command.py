"""The verbs of `python -m caneft patch`: each does its work and prints the outcome."""

import argparse
import json
import sys

from caneft.patch import compare, folder, lora, merge, ranks
from caneft.patch.form import Patch, read
from caneft.patch.hashing import called


def _units(patch: Patch) -> str:
    return f"{len(patch.neurons)} {patch.neurons.unit}s"


def _say(patch: Patch) -> str:
    return f"{_units(patch)} of {called(patch.base)}"


def _warn(patch: Patch) -> None:
    if said := ranks.warning(patch):
        print(f"Warning: {said}", file=sys.stderr)


def _inspect(args: argparse.Namespace) -> None:
    found = compare.inspect(args.patch)
    if args.json:
        print(json.dumps(found, indent=1, sort_keys=True, ensure_ascii=False))
    else:
        most = {module: max(of_layers) for module, of_layers in found["lora_ranks"].items()}
        per_layer = ", ".join(map(str, found["units_per_layer"]))
        print(f"base        {called(found['base'])}, {found['model_type']}")
        print(f"{found['unit']}s".ljust(11), f"{found['units']} of {found['layers']} layers x {found['width']}")
        print(f"per layer   {per_layer}")
        print(f"parameters  {found['parameters']:,} in {found['dtype']}")
        print(f"bytes       {found['bytes']:,}")
        print("LoRA ranks ", ", ".join(f"{module} up to {rank}" for module, rank in most.items()))
    _warn(read(args.patch))


def _apply(args: argparse.Namespace) -> None:
    patch = folder.apply(args.folder, args.patch, args.undo, args.force)
    print(f"{args.folder}: put in {_units(patch)}; `revert` takes them out")


def _revert(args: argparse.Namespace) -> None:
    print(f"{args.folder}: brought back {_units(folder.revert(args.folder, args.undo))}")


def _merge(args: argparse.Namespace) -> None:
    print(f"{args.out}: {args.base} with {_units(merge.merge(args.base, args.patch, args.out))} put in")


def _to_lora(args: argparse.Namespace) -> None:
    patch = lora.export(args.base, args.patch, args.out, args.own_ranks)
    print("; ".join(filter(None, [f"{args.out}: a LoRA adapter for {_say(patch)}", ranks.advice(patch)])))
    _warn(patch)


def _diff(args: argparse.Namespace) -> None:
    found = compare.diff(args.a, args.b, args.base)
    same = f"{found['replace_the_same']} of {found['units']} units in both replace the same weights"
    print(f"bases: {'the same' if found['same_base'] else 'different'}; {same}")
    columns = ["both", "only_a", "only_b", "distance", *(["cosine"] if args.base else [])]
    print("layer", *(f"{column:>9}" for column in columns))
    for layer, row in enumerate(found["layers"]):
        print(f"{layer:>5}", *(f"{_number(row[column]):>9}" for column in columns))


def _number(value: float | int | None) -> str:
    return "-" if value is None else str(value) if isinstance(value, int) else f"{value:.6f}"


def _compose(args: argparse.Namespace) -> None:
    print(f"{args.out}: a patch for {_say(compare.compose(args.patches, args.out))}")


VERBS = {
    "inspect": _inspect,
    "apply": _apply,
    "revert": _revert,
    "merge": _merge,
    "to-lora": _to_lora,
    "diff": _diff,
    "compose": _compose,
}
