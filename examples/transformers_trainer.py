"""Tune some neurons of a model in the Trainer of transformers; docs/trainers.md says more.

    python examples/transformers_trainer.py --model MODEL --neurons SET.npz --pairs PAIRS.jsonl --output_dir tuned

PAIRS.jsonl has a `source` and a `target` in each line. Every argument of TrainingArguments is one of this script.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    DataCollatorForSeq2Seq,
    HfArgumentParser,
    TrainingArguments,
)

from caneft import neurons
from caneft.prompts import Prompts
from caneft.tuning.trainer import NeuronTrainer


@dataclass
class Inputs:
    model: str
    neurons: str
    pairs: str
    instruction: str = "Translate into English."
    max_tokens: int = 512


def main() -> NeuronTrainer:
    inputs, args = HfArgumentParser((Inputs, TrainingArguments)).parse_args_into_dataclasses()
    tokenizer = AutoTokenizer.from_pretrained(inputs.model)
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    trainer = NeuronTrainer(
        model=AutoModelForCausalLM.from_pretrained(inputs.model),
        neurons=neurons.load(inputs.neurons),
        args=args,
        train_dataset=encoded(inputs, tokenizer),
        data_collator=DataCollatorForSeq2Seq(tokenizer),
    )
    trainer.train(resume_from_checkpoint=args.resume_from_checkpoint)
    trainer.save_model()
    return trainer


def encoded(inputs: Inputs, tokenizer) -> list[dict[str, list[int]]]:
    """Pairs as token ids, with labels on what the model is to say."""
    rows = [json.loads(line) for line in Path(inputs.pairs).read_text(encoding="utf-8").splitlines()]
    prompts = Prompts(tokenizer, lambda domain: inputs.instruction)
    found = prompts.encode_training(((row["source"], row["target"], "") for row in rows), inputs.max_tokens)
    return [
        {"input_ids": [*e.prompt, *e.response], "labels": [-100] * len(e.prompt) + [*e.response]}
        for e in found.examples
    ]


if __name__ == "__main__":
    main()
