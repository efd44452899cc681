"""Bottleneck adapters, one per domain: each adds up(relu(down(h))) to the output h of every FFN.

The `adapters` library (AdapterHub) would be the usual choice, but it is pinned to transformers 4 and does not run with
transformers 5; this module has everything that is needed of it.

`adapters.safetensors` has, for every domain d and layer l, `{d}.{l}.down` (bottleneck, hidden) and `{d}.{l}.up`
(hidden, bottleneck) in float32. The metadata entry `caneft` holds a JSON manifest: format, domains, bottleneck,
model_type, layers, hidden_size, and the base's id, revision and checksums.
"""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from caneft.errors import InputError
from caneft.models.ffn import ffn_layers
from caneft.storage.bounded import parse
from caneft.storage.files import atomic_write
from caneft.tuning.base import TuningMethod

FORMAT = 1
SPREAD = 0.02
"""Standard deviation of the initial weights of `down`; those of `up` are zero, so training starts from the base."""


class Bottleneck(nn.Module):
    """up(relu(down(h))) without biases. Weights are float32, whatever the dtype of h; so is the result."""

    def __init__(self, down: torch.Tensor):
        super().__init__()
        self.down = nn.Parameter(down)
        self.up = nn.Parameter(torch.zeros_like(down.T, memory_format=torch.contiguous_format))

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        return F.linear(F.relu(F.linear(h.float(), self.down)), self.up)


class Adapters(TuningMethod):
    """Puts adapters of several domains into a causal LM and makes them trainable; every other weight is frozen.

    `begin` sets which domain's adapter each row of the passes that follow goes through. It holds until the next call,
    so a backward pass that recomputes activations must come before that. An adapter, and so its gradient, sees only
    rows of its own domain; the adapter of a domain without rows gets no gradient at all.
    """

    def __init__(self, model: nn.Module, domains: Sequence[str], bottleneck: int, base: dict | None = None):
        if not domains:
            raise InputError("method 'adapters' cannot be trained without domains")
        self.domains, self.bottleneck, self.base = tuple(sorted(set(domains))), bottleneck, base or {}
        self.sizes = sizes(model.requires_grad_(False))
        layers = ffn_layers(model)
        self._layers = [self._made(layer.down.linear.weight.device) for layer in layers]
        self.begin(())
        self._hooks = [
            layer.block.register_forward_hook(self._hook(adapters))
            for layer, adapters in zip(layers, self._layers, strict=True)
        ]

    def _made(self, device: torch.device) -> dict[str, Bottleneck]:
        """Adapters of one layer. All domains start with the same weights, so none depends on which others there are."""
        down = torch.randn(self.bottleneck, self.sizes["hidden_size"]) * SPREAD  # on the CPU: the same on every device
        return {domain: Bottleneck(down.clone()).to(device) for domain in self.domains}

    def _hook(self, adapters: dict[str, Bottleneck]):
        def add(block: nn.Module, inputs: tuple, h: torch.Tensor) -> torch.Tensor:
            if len(h) != len(self._order):
                raise ValueError(f"a pass of {len(h)} rows, but begin() was told the domains of {len(self._order)}")
            if len(self._counts) == 1:
                return h + adapters[next(iter(self._counts))](h).to(h.dtype)
            order, back = self._on(h.device)
            groups = h.index_select(0, order).split(list(self._counts.values()))
            parts = [adapters[domain](group) for domain, group in zip(self._counts, groups, strict=True)]
            return h + torch.cat(parts).index_select(0, back).to(h.dtype)

        return add

    def begin(self, domains: Sequence[str]) -> None:
        """Sets the domain of each row of the passes that follow. Raises InputError for a domain without an adapter."""
        if unknown := sorted(set(domains) - set(self.domains)):
            raise InputError(f"no adapter for {', '.join(map(repr, unknown))}; there are {', '.join(self.domains)}")
        self._counts = dict(sorted(Counter(domains).items()))
        self._order = sorted(range(len(domains)), key=lambda row: domains[row])  # rows of a domain side by side
        self._moved: dict[torch.device, tuple[torch.Tensor, torch.Tensor]] = {}

    def _on(self, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
        """The order of the rows and its inverse, on a device: copied once per pass, not once per layer."""
        if device not in self._moved:
            order = torch.tensor(self._order)
            self._moved[device] = order.to(device), order.argsort().to(device)
        return self._moved[device]

    def parameters(self) -> Iterator[nn.Parameter]:
        """All trained parameters, domain by domain, layer by layer."""
        for domain in self.domains:
            for layer in self._layers:
                yield from layer[domain].parameters()

    def described(self) -> dict[str, Any]:
        return {"domains": list(self.domains), "bottleneck": self.bottleneck}

    def detach(self) -> None:
        """Removes the adapters from the model."""
        for hook in self._hooks:
            hook.remove()
        self._hooks.clear()

    def named_parameters(self) -> dict[str, nn.Parameter]:
        """Parameters by their names in the file."""
        return {
            f"{domain}.{number}.{name}": parameter
            for domain in self.domains
            for number, layer in enumerate(self._layers)
            for name, parameter in layer[domain].named_parameters()
        }

    def save(self, folder: Path) -> None:
        """Writes `adapters.safetensors`."""
        manifest = {"format": FORMAT, **self.described(), **self.sizes, "base": self.base}
        tensors = {name: parameter.detach().cpu() for name, parameter in self.named_parameters().items()}
        with atomic_write(folder / "adapters.safetensors") as beside:
            save_file(tensors, beside, metadata={"caneft": json.dumps(manifest, sort_keys=True)})

    @classmethod
    def load(cls, path: Path, model: nn.Module, base: dict | None = None) -> "Adapters":
        """Puts the adapters of a file into their base model, frozen.

        base: its id, revision and checksums, if known. Raises InputError for a file without adapters or another base.
        """
        manifest, tensors = _read(path)
        if wrong := {key: value for key, value in sizes(model).items() if manifest[key] != value}:
            found = ", ".join(f"{key} {manifest[key]}, not {value}" for key, value in wrong.items())
            raise InputError(f"{path} is for another model: {found}")
        if base is not None and base.get("weights") != manifest["base"].get("weights"):
            raise InputError(f"{path} was made for other weights (base: {manifest['base']}); use it with that base")
        adapters = cls(model, manifest["domains"], manifest["bottleneck"], manifest["base"])
        with torch.no_grad():
            for name, parameter in adapters.named_parameters().items():
                parameter.requires_grad_(False).copy_(tensors[name])
        return adapters


def sizes(model: nn.Module) -> dict[str, Any]:
    """Architecture and sizes that a model and its adapters must share."""
    layers = ffn_layers(model)
    hidden = layers[0].down.linear.out_features
    return {"model_type": model.config.model_type, "hidden_size": hidden, "layers": len(layers)}


def _read(path: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """Manifest and tensors of a file, checked to fit each other. Raises InputError for a file without adapters."""
    try:
        with safe_open(path, framework="pt") as file:
            manifest = parse((file.metadata() or {})["caneft"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
        if manifest["format"] != FORMAT:
            raise ValueError(f"its format is {manifest['format']}, this program reads format {FORMAT}")
        if not (manifest["domains"] and isinstance(manifest["base"], dict) and isinstance(manifest["model_type"], str)):
            raise ValueError("its manifest names no domain, no base or no architecture")
        if not (isinstance(manifest["domains"], list) and manifest["layers"] in range(1, len(tensors) + 1)):
            raise ValueError("its domains or layers are not those of its tensors")
        shapes = _shapes(**{key: manifest[key] for key in ("domains", "layers", "bottleneck", "hidden_size")})
        if shapes != {name: tuple(tensor.shape) for name, tensor in tensors.items()}:
            raise ValueError("its tensors are not those of its manifest")
    except (SafetensorError, OSError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{path} holds no adapters ({type(error).__name__}: {error}); tune the run again") from None
    return manifest, tensors


def _shapes(domains: list[str], layers: int, bottleneck: int, hidden_size: int) -> dict[str, tuple[int, int]]:
    """Name and shape of every tensor in a file."""
    shapes = {"down": (bottleneck, hidden_size), "up": (hidden_size, bottleneck)}
    return {f"{d}.{layer}.{name}": shape for d in domains for layer in range(layers) for name, shape in shapes.items()}
