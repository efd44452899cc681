"""Asks vLLM, in its environment, for a base and for adapters by LoRA requests: JSON in, JSON in the file `out`.

For each model, `base` or an adapter's name, it gives what `tests.serving.uneven.answers` gives.
"""

import json
import sys
from pathlib import Path
from typing import get_args


def main() -> None:
    from vllm import LLM, SamplingParams
    from vllm.config.lora import MaxLoRARanks
    from vllm.lora.request import LoRARequest

    asked = json.loads(sys.stdin.read())
    model = LLM(
        asked["base"],
        dtype="float32",
        enforce_eager=True,
        max_model_len=128,
        enable_lora=True,
        max_lora_rank=asked["rank"],
        skip_tokenizer_init=True,
    )
    sampling = SamplingParams(
        temperature=0, max_tokens=asked["tokens"], stop_token_ids=[asked["end"]], logprobs=0, detokenize=False
    )
    prompts = [{"prompt_token_ids": ids} for ids in asked["prompts"]]
    requests = {name: LoRARequest(name, n, at) for n, (name, at) in enumerate(asked["adapters"].items(), start=1)}
    found = {"ranks": get_args(MaxLoRARanks)}
    for name, request in {"base": None, **requests}.items():
        outputs = [o.outputs[0] for o in model.generate(prompts, sampling, lora_request=request, use_tqdm=False)]
        found[name] = [(list(o.token_ids), o.logprobs[0][o.token_ids[0]].logprob) for o in outputs]
    Path(asked["out"]).write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main()
