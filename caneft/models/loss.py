"""Cross-entropy on response positions, with the LM head evaluated there only."""

import torch
from torch import nn

from caneft.models.ffn import decoder
from caneft.models.head import cross_entropy
from caneft.prompts import Batch


def response_losses(model: nn.Module, batch: Batch) -> torch.Tensor:
    """Cross-entropy of each response position, in nats.

    model: a causal LM of transformers of a known architecture. Returns float32 of shape (response positions,), in the
    order of `batch.targets`. Gemma 2's logit soft-cap is applied.
    """
    hidden = decoder(model)(
        input_ids=batch.input_ids,
        attention_mask=batch.attention_mask,
        position_ids=batch.position_ids,
        use_cache=False,
    ).last_hidden_state
    hidden = hidden.flatten(0, 1).index_select(0, batch.positions.to(hidden.device))
    weight = model.lm_head.weight
    cap = getattr(model.config.get_text_config(), "final_logit_softcapping", None)
    return cross_entropy(hidden.to(weight.device), weight, batch.targets.to(weight.device), cap)
