"""Shared by the unit tests: tiny random models, a tiny tokenizer with a chat template, pairs to train on.

torch is imported only where it is used, because most test files do without it.
"""

import os
import sys

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # no test may use the network
# Workers and their processes share the cores; threads that spin for work would take them from each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")

PAIRS = [
    ("Der Hund schläft.", "The dog sleeps."),
    ("Öffnen Sie die Datei, bevor Sie das Programm neu starten.", "Open the file before you restart the program."),
    ("Ja.", "Yes."),
    ("Der Patient nimmt zwei Tabletten am Tag.", "The patient takes two tablets a day, in the morning and at night."),
    ("Wer ist da? Niemand, nur der Wind über dem See.", "Nobody."),
    ("Artikel 7 gilt nicht.", "Article 7 does not apply."),
    ("Die Katze sitzt auf dem Dach.", "The cat is sitting on the roof."),
    ("Gut so", "Well done, my friend, well done"),
]


def pytest_make_parametrize_id(config: pytest.Config, val: object, argname: str) -> str | None:
    """Names bytes parameters alike in all workers of pytest-xdist: archives contain the time, so their bytes differ."""
    return argname if isinstance(val, bytes) else None


FAMILIES = ["llama", "mistral", "qwen2", "qwen3", "gemma2", "gemma3", "gemma3_text", "phi3"]


@pytest.fixture(params=FAMILIES)
def architecture(request) -> str:
    """Each model family in turn."""
    return request.param


@pytest.fixture(scope="session")
def pairs() -> list[tuple[str, str]]:
    """Sources and targets, short and long mixed."""
    return PAIRS


@pytest.fixture(scope="session")
def tokenizer():
    """Byte-level BPE of about 340 entries with the demo's chat template."""
    from caneft.tuning.pretraining import build_tokenizer

    return build_tokenizer([text for pair in PAIRS for text in pair], 340)


@pytest.fixture(scope="session")
def prompts(tokenizer):
    from caneft.prompts import Prompts

    return Prompts(tokenizer, lambda domain: "Translate.")


@pytest.fixture(scope="session")
def examples(prompts):
    """The pairs as token ids."""
    return [prompts.encode(source, target) for source, target in PAIRS]


@pytest.fixture(scope="session")
def tiny_model(tokenizer):
    """Makes a random causal LM: tiny_model("gemma2", seed=1, intermediate_size=24) with further configuration.

    Weights are large and Gemma's soft caps low, so that a forgotten soft cap, mask or position changes every number.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.set_num_threads(1)
    gemma = {"head_dim": 6, "final_logit_softcapping": 2.0, "attn_logit_softcapping": 1.0, "sliding_window": 16}
    own = {"gemma2": gemma, "gemma3_text": gemma, "qwen3": {"head_dim": 6}}
    own["gemma3"] = gemma | {"final_logit_softcapping": None}  # its class in transformers has none
    sees = {"hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    sees |= {"image_size": 28, "patch_size": 14}

    def make(architecture: str = "llama", seed: int = 0, dtype: torch.dtype = torch.float32, **options):
        common = {
            "vocab_size": len(tokenizer),
            "hidden_size": 24,
            "num_hidden_layers": 3,
            "intermediate_size": 40,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "max_position_embeddings": 256,
            "initializer_range": 0.25,
            "tie_word_embeddings": False,
            "bos_token_id": tokenizer.bos_token_id,
            "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id,
        }
        torch.manual_seed(seed)
        options = common | own.get(architecture, {}) | options
        if architecture == "gemma3":
            tied = {"tie_word_embeddings": options["tie_word_embeddings"]}
            options = {"text_config": options, "vision_config": sees, "mm_tokens_per_image": 4} | tied
        config = AutoConfig.for_model(architecture, **options)
        model = AutoModelForCausalLM.from_config(config).to(dtype)
        return model.requires_grad_(False).eval()

    return make


@pytest.fixture
def command_line(monkeypatch, capsys):
    """Runs `python -m caneft` with arguments; returns exit code, stdout and stderr."""
    from caneft import __main__

    def run(*arguments) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["caneft", *map(str, arguments)])
        code = 0
        try:
            __main__.main()
        except SystemExit as end:
            code = end.code
        found = capsys.readouterr()
        return code, found.out, found.err

    return run


@pytest.fixture
def three_gpus(tmp_path, monkeypatch):
    """A machine with three GPUs: a double of nvidia-smi, first on PATH, and its own folder of locks."""
    listed = "\n".join(f"GPU {n}: NVIDIA Imagined (UUID: GPU-{n}{n}-ab)" for n in range(3))
    smi = tmp_path / "bin" / "nvidia-smi"
    smi.parent.mkdir()
    smi.write_text(f"#!/bin/sh\ncat <<'END'\n{listed}\nEND\n")
    smi.chmod(0o755)
    for name in ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "SLURM_JOB_ID", "ACCELERATE_USE_CPU"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", f"{smi.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("CANEFT_LEASES", str(tmp_path / "leases"))
