"""Slow and obvious witnesses for the tests: one unpadded sample at a time, nothing of the package in them."""

from dataclasses import dataclass

import torch


@dataclass
class Pass:
    """One sample through a model: loss summed over the response, and per layer what was seen, (tokens, neurons)."""

    loss: float
    activation: list[torch.Tensor]  # input of down_proj
    activation_gradient: list[torch.Tensor]
    up: list[torch.Tensor]  # output of up_proj
    up_gradient: list[torch.Tensor]
    gate: list[torch.Tensor]  # output of gate_proj
    response: slice  # positions that predict a response token


def summed_loss(model, prompt, response) -> torch.Tensor:
    """Cross-entropy of the response tokens, from the full logits that transformers computes."""
    logits = model(input_ids=torch.tensor([[*prompt, *response]]), use_cache=False).logits[0]
    chosen = torch.log_softmax(logits, dim=-1)
    total = 0.0
    for offset, token in enumerate(response):
        total = total - chosen[len(prompt) + offset - 1, token]
    return total


def one_pass(model, prompt, response) -> Pass:
    """Forward and backward with every weight requiring a gradient; the model's own state is put back afterwards."""
    seen = {"activation": [], "up": [], "gate": []}

    def keep(name):
        def hook(module, inputs, output=None):
            tensor = inputs[0] if output is None else output
            tensor.retain_grad()
            seen[name].append(tensor)

        return hook

    handles = []
    for layer in model.model.layers:
        handles.append(layer.mlp.gate_proj.register_forward_hook(keep("gate")))
        handles.append(layer.mlp.up_proj.register_forward_hook(keep("up")))
        handles.append(layer.mlp.down_proj.register_forward_pre_hook(keep("activation")))
    needed = {name: parameter.requires_grad for name, parameter in model.named_parameters()}
    model.requires_grad_(True)
    loss = summed_loss(model, prompt, response)
    loss.backward()
    for handle in handles:
        handle.remove()
    for name, parameter in model.named_parameters():
        parameter.grad = None
        parameter.requires_grad_(needed[name])
    return Pass(
        loss=float(loss.detach()),
        activation=[t.detach()[0] for t in seen["activation"]],
        activation_gradient=[t.grad[0] for t in seen["activation"]],
        up=[t.detach()[0] for t in seen["up"]],
        up_gradient=[t.grad[0] for t in seen["up"]],
        gate=[t.detach()[0] for t in seen["gate"]],
        response=slice(len(prompt) - 1, len(prompt) - 1 + len(response)),
    )


def importance(model, prompt, response) -> torch.Tensor:
    """(layers, neurons): mean over response positions of |a * dL/da|."""
    found = one_pass(model, prompt, response)
    pairs = zip(found.activation, found.activation_gradient, strict=True)
    return torch.stack([(a * g)[found.response].abs().mean(0) for a, g in pairs])


def masked_adam_reference(model, losses, masks, learning_rate):
    """Adam on every weight with gradient times mask, no weight decay. losses: one closure a step."""
    model.requires_grad_(True)
    optimizer = torch.optim.Adam(model.parameters(), lr=learning_rate)
    for loss in losses:
        optimizer.zero_grad()
        loss(model).backward()
        for name, parameter in model.named_parameters():
            parameter.grad = masks.get(name, torch.zeros(())) * parameter.grad
        optimizer.step()


def greedy(model, prompt, end, limit) -> list[int]:
    """Tokens of the most probable continuation, one whole forward pass each, until `end` or the limit."""
    ids = list(prompt)
    with torch.no_grad():
        for _ in range(limit):
            ids.append(int(model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1].argmax()))
            if ids[-1] == end:
                break
    return ids[len(prompt) :]
