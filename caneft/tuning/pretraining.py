"""Makes a small base model: tokenizer, chat template, and pretraining on prompts with their responses."""

import logging
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from caneft.config import Pretraining
from caneft.corpora.store import Row
from caneft.errors import InputError
from caneft.models.loss import response_losses
from caneft.prompts import Example, Prompts, collate
from caneft.tuning.schedule import schedule

logger = logging.getLogger(__name__)

PAD, BEGIN, USER, ASSISTANT, END = "<pad>", "<bos>", "<|user|>", "<|assistant|>", "<|end|>"

CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)

POOL = 64
"""Number of batches in a pool: examples are sorted by length within it."""


def build_tokenizer(texts: Sequence[str], vocabulary: int):
    """Byte-level BPE trained on texts, with the chat template of the demo's bases."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[PAD, BEGIN, USER, ASSISTANT, END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        bos_token=BEGIN,
        eos_token=END,
        extra_special_tokens=[USER, ASSISTANT],
        padding_side="left",
    )
    fast.chat_template = CHAT_TEMPLATE
    return fast


def encode(rows: Sequence[Row], prompts: Mapping[str, Prompts], max_tokens: int) -> list[Example]:
    """Examples of pairs of several directions, in order. prompts: by direction, which is a row's `domain` here."""
    found: dict[int, Example] = {}
    for direction, own in prompts.items():
        indices = [index for index, row in enumerate(rows) if row.domain == direction]
        encoded = own.encode_training(((rows[i].source, rows[i].target, "") for i in indices), max_tokens)
        found |= {indices[kept]: example for kept, example in zip(encoded.kept, encoded.examples, strict=True)}
    return [found[index] for index in sorted(found)]


def build_model(settings: Pretraining, tokenizer, max_positions: int = 1024) -> nn.Module:
    """A randomly initialised causal LM of the configured architecture, with tied embeddings."""
    from transformers import AutoConfig, AutoModelForCausalLM

    options = {
        "vocab_size": len(tokenizer),
        "hidden_size": settings.hidden_size,
        "num_hidden_layers": settings.layers,
        "intermediate_size": settings.intermediate_size,
        "num_attention_heads": settings.heads,
        "num_key_value_heads": settings.heads,
        "max_position_embeddings": max_positions,
        "tie_word_embeddings": True,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    if settings.architecture == "gemma2":
        head = settings.hidden_size // settings.heads
        options |= {"head_dim": head, "query_pre_attn_scalar": head, "sliding_window": max_positions}
    return AutoModelForCausalLM.from_config(AutoConfig.for_model(settings.architecture, **options))


def token_batches(lengths: Sequence[int], tokens: int, seed: int) -> Iterator[list[int]]:
    """Endless batches of about `tokens` tokens with padding, shuffled anew in every pass."""
    generator = np.random.default_rng(seed)
    while True:
        order = generator.permutation(len(lengths))
        size = POOL * max(1, tokens // (sum(lengths) // len(lengths) + 1))
        found = []
        for start in range(0, len(order), size):
            pool = sorted(order[start : start + size].tolist(), key=lambda i: (lengths[i], i))
            batch: list[int] = []
            for index in pool:
                if batch and lengths[index] * (len(batch) + 1) > tokens:
                    found.append(batch)
                    batch = []
                batch.append(index)
            found.append(batch)
        yield from (found[i] for i in generator.permutation(len(found)))


def pretrain(model: nn.Module, examples: Sequence[Example], settings: Pretraining, pad: int) -> list[float]:
    """Trains every weight for `settings.steps` steps; returns the loss of each step, in nats per response token."""
    fitting = [example for example in examples if len(example) <= settings.max_tokens]
    if not fitting:
        raise InputError(f"no pretraining example has at most {settings.max_tokens} tokens; raise pretrain.max_tokens")
    logger.info("%d pairs of more than %d tokens are left out", len(examples) - len(fitting), settings.max_tokens)
    device = next(model.parameters()).device
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=settings.learning_rate, betas=(0.9, 0.98), weight_decay=0.01, fused=True
    )
    factors = torch.optim.lr_scheduler.LambdaLR(optimizer, schedule(settings.steps, 0.05))
    draws = token_batches([len(example) for example in fitting], settings.tokens_per_step, settings.seed)
    losses = []
    model.train().requires_grad_(True)
    with tqdm(range(settings.steps), unit="step", mininterval=5) as bar:
        for _ in bar:
            batch = collate([fitting[i] for i in next(draws)], pad).to(device)
            loss = response_losses(model, batch).mean()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            factors.step()
            losses.append(float(loss.detach()))
            bar.set_postfix(loss=f"{losses[-1]:.3f}", refresh=False)
    model.eval()
    return losses
