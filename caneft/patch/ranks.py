"""The ranks that a patch needs as a LoRA adapter, and those that vLLM accepts."""

from caneft.patch.form import Patch

OF_VLLM = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""Highest ranks that `--max-lora-rank` of vLLM can allow."""


def ranks(patch: Patch) -> dict[str, list[int]]:
    """For each module, with `{layer}` for the layer's number, the rank in each layer; 0 where nothing changes."""
    found = {module: [0] * patch.neurons.layers for module in patch.modules.values()}
    for layer, slices in enumerate(patch.slices):
        for name, tensor in slices.items():
            found[patch.modules[name]][layer] += tensor.shape[patch.axes[name]]
    return found


def told(rank: int) -> int | None:
    """The `--max-lora-rank` with which vLLM accepts a rank; None if the rank is too high."""
    return next((most for most in OF_VLLM if most >= rank), None)


def advice(patch: Patch) -> str | None:
    """The option with which vLLM accepts the patch as an adapter; None if it does not."""
    most = told(max(max(of_layers) for of_layers in ranks(patch).values()))
    return most and f"vLLM takes it with --max-lora-rank {most}"


def warning(patch: Patch) -> str | None:
    """Message about ranks that are too high for vLLM; None if there are none."""
    high = {module: max(of_layers) for module, of_layers in ranks(patch).items() if told(max(of_layers)) is None}
    if not high:
        return None
    said = ", ".join(f"{module} {rank}" for module, rank in high.items())
    return (
        f"vLLM takes LoRA ranks up to {OF_VLLM[-1]}, this patch needs {said}. Serve the folder that `patch merge`"
        " writes, or select fewer units of one layer: `selection.per_layer`"
    )
