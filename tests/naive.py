"""Slow and obvious witnesses for the tests: one unpadded sample at a time, without any code of the package."""

from dataclasses import dataclass

import torch


@dataclass
class Pass:
    """One sample through a model: the loss summed over the response, and tensors (tokens, neurons) for each layer."""

    loss: float
    activation: list[torch.Tensor]  # input of down_proj, for each layer
    activation_gradient: list[torch.Tensor]
    up: list[torch.Tensor]  # output of up_proj, for each layer
    up_gradient: list[torch.Tensor]
    gate: list[torch.Tensor]  # output of gate_proj, for each layer
    response: slice  # positions that predict a response token


def decoder_layers(model):
    """Layers of the text model, also if there is a vision tower."""
    return getattr(model.model, "language_model", model.model).layers


def neuron_weights(mlp, j):
    """Module names and indices of neuron j's weights: row j of gate and up (one module in phi3), column j of down."""
    if hasattr(mlp, "gate_up_proj"):
        width = mlp.gate_up_proj.out_features // 2
        return [("gate_up_proj", (j,)), ("gate_up_proj", (width + j,)), ("down_proj", (slice(None), j))]
    return [("gate_proj", (j,)), ("up_proj", (j,)), ("down_proj", (slice(None), j))]


def summed_loss(model, prompt, response) -> torch.Tensor:
    """Cross-entropy of the response tokens, from the full logits that transformers computes."""
    logits = model(input_ids=torch.tensor([[*prompt, *response]]), use_cache=False).logits[0]
    chosen = torch.log_softmax(logits, dim=-1)
    total = 0.0
    for offset, token in enumerate(response):
        total = total - chosen[len(prompt) + offset - 1, token]
    return total


def summed_losses(model, prompt, response, copies) -> torch.Tensor:
    """Like `summed_loss`, for each of `copies` copies of the sample in one batch, each of which a hook may change."""
    ids = torch.tensor([[*prompt, *response]]).expand(copies, -1)
    logits = model(input_ids=ids, use_cache=False).logits
    places = torch.arange(len(prompt) - 1, len(prompt) + len(response) - 1)
    chosen = torch.log_softmax(logits[:, places], dim=-1)
    return -chosen[:, torch.arange(len(response)), torch.tensor(list(response))].sum(1)


def one_pass(model, prompt, response) -> Pass:
    """Forward and backward pass in which every weight requires a gradient; restores the model's state afterwards."""
    seen = {"activation": [], "up": [], "gate": []}

    def keep(name):
        def hook(module, inputs, output=None):
            tensor = inputs[0] if output is None else output
            tensor.retain_grad()
            seen[name].append(tensor)

        return hook

    def keep_fused(module, inputs, output):  # phi3: gates are in the first half, ups in the second
        output.retain_grad()
        fused.append(output)

    handles, fused = [], []
    for layer in decoder_layers(model):
        if hasattr(layer.mlp, "gate_up_proj"):
            handles.append(layer.mlp.gate_up_proj.register_forward_hook(keep_fused))
        else:
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
    values = {name: [t.detach()[0] for t in found] for name, found in seen.items()}
    gradients = {name: [t.grad[0] for t in found] for name, found in seen.items()}
    for output in fused:
        half = output.shape[-1] // 2
        values["gate"].append(output.detach()[0, :, :half])
        values["up"].append(output.detach()[0, :, half:])
        gradients["up"].append(output.grad[0, :, half:])
    return Pass(
        loss=float(loss.detach()),
        activation=values["activation"],
        activation_gradient=gradients["activation"],
        up=values["up"],
        up_gradient=gradients["up"],
        gate=values["gate"],
        response=slice(len(prompt) - 1, len(prompt) - 1 + len(response)),
    )


def importance(model, prompt, response) -> torch.Tensor:
    """(layers, neurons): mean over response positions of |a * dL/da|."""
    found = one_pass(model, prompt, response)
    pairs = zip(found.activation, found.activation_gradient, strict=True)
    return torch.stack([(a * g)[found.response].abs().mean(0) for a, g in pairs])


def head_pass(model, prompt, response) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """The input of o_proj in each layer, and the gradient of the summed loss there, by position and head.

    Both are (tokens, key and value heads, numbers of each). During the pass all weights require a gradient, so that the
    graph is complete.
    """
    kept, needed = [], {name: parameter.requires_grad for name, parameter in model.named_parameters()}
    handles = [
        layer.self_attn.o_proj.register_forward_pre_hook(lambda _, inputs: kept.append(inputs[0]))
        for layer in decoder_layers(model)
    ]
    model.requires_grad_(True)
    gradients = torch.autograd.grad(summed_loss(model, prompt, response), kept)
    for handle in handles:
        handle.remove()
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(needed[name])
    heads = model.config.get_text_config().num_key_value_heads
    return tuple([t.detach()[0].reshape(t.shape[1], heads, -1) for t in tensors] for tensors in (kept, gradients))


def head_importance(model, prompt, response) -> torch.Tensor:
    """(layers, heads): mean over response positions of |sum over the head's numbers of a * dL/da|."""
    rows = []
    for a, g in zip(*head_pass(model, prompt, response), strict=True):
        positions = range(len(prompt) - 1, len(prompt) + len(response) - 1)
        effects = [[abs(torch.dot(a[t, j], g[t, j])) for t in positions] for j in range(a.shape[1])]
        rows.append(torch.tensor(effects).mean(1))
    return torch.stack(rows)


def masked_adam_reference(model, losses, masks, learning_rate):
    """Adam on every weight with gradient times mask, without weight decay. losses: one closure for each step."""
    model.requires_grad_(True)
    optimizer = torch.optim.Adam(model.parameters(), lr=learning_rate)
    for loss in losses:
        optimizer.zero_grad()
        loss(model).backward()
        for name, parameter in model.named_parameters():
            if parameter.grad is not None:  # the weights of an unused vision tower have none
                parameter.grad = masks.get(name, torch.zeros(())) * parameter.grad
        optimizer.step()


def greedy(model, prompt, end, limit) -> list[int]:
    """Tokens of the most probable continuation, with a whole forward pass for each, until `end` or the limit."""
    ids = list(prompt)
    with torch.no_grad():
        for _ in range(limit):
            ids.append(int(model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1].argmax()))
            if ids[-1] == end:
                break
    return ids[len(prompt) :]
