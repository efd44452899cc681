"""Tune some neurons of a chat model in TRL's SFTTrainer; docs/trainers.md says more.

    python examples/trl_sft.py --model MODEL --neurons SET.npz --pairs PAIRS.jsonl --output_dir tuned

PAIRS.jsonl has a `source` and a `target` in each line. Every argument of SFTConfig is one of this script.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer, HfArgumentParser
from trl import SFTConfig, SFTTrainer

from caneft import neurons
from caneft.tuning.trainer import TunesNeurons


class NeuronSFTTrainer(TunesNeurons, SFTTrainer):
    """TRL's trainer for supervised fine-tuning, tuning neurons."""


@dataclass
class Inputs:
    model: str
    neurons: str
    pairs: str
    instruction: str = "Translate into English."


def main() -> NeuronSFTTrainer:
    parser = HfArgumentParser((Inputs, SFTConfig))
    parser.set_defaults(bf16=False)  # TRL's default would compute in another dtype than the model's
    inputs, args = parser.parse_args_into_dataclasses()
    trainer = NeuronSFTTrainer(
        model=AutoModelForCausalLM.from_pretrained(inputs.model),
        neurons=neurons.load(inputs.neurons),
        args=args,
        train_dataset=Dataset.from_list(conversations(inputs)),
        processing_class=AutoTokenizer.from_pretrained(inputs.model),
    )
    trainer.train(resume_from_checkpoint=args.resume_from_checkpoint)
    trainer.save_model()
    return trainer


def conversations(inputs: Inputs) -> list[dict[str, list[dict[str, str]]]]:
    """Pairs as TRL has them: only the completion is trained."""
    rows = [json.loads(line) for line in Path(inputs.pairs).read_text(encoding="utf-8").splitlines()]
    return [
        {
            "prompt": [{"role": "user", "content": f"{inputs.instruction}\n{row['source']}"}],
            "completion": [{"role": "assistant", "content": row["target"]}],
        }
        for row in rows
    ]


if __name__ == "__main__":
    main()
