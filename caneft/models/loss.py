"""Cross-entropy on response positions, with the LM head evaluated there only."""

import torch
import torch.nn.functional as F
from torch import nn

from caneft.prompts import Batch


def response_losses(model: nn.Module, batch: Batch) -> torch.Tensor:
    """Cross-entropy of each response position, in nats.

    model: a causal LM of transformers (`model.model` the decoder, `model.lm_head`). Returns float32 of shape
    (response positions,), in the order of `batch.targets`. Gemma 2's logit soft-cap is applied.
    """
    hidden = model.model(
        input_ids=batch.input_ids,
        attention_mask=batch.attention_mask,
        position_ids=batch.position_ids,
        use_cache=False,
    ).last_hidden_state
    logits = model.lm_head(hidden[batch.response]).float()
    cap = getattr(model.config, "final_logit_softcapping", None)
    if cap is not None:
        logits = torch.tanh(logits / cap) * cap
    return F.cross_entropy(logits, batch.targets, reduction="none")
