"""The data of a new user: three domains in three formats, sixty training pairs each, and a folder with a tiny model."""

from collections.abc import Sequence
from pathlib import Path
from xml.sax.saxutils import escape

from caneft import demo

PAIRS = {"train": 60, "dev": 10, "test": 12}
TAGS = "de-DE", "en-GB"


def corpora(folder: Path) -> Path:
    """Writes `it` as TSV, `law` as aligned files in its own folder, `medical` as one memory; and one other file."""
    (folder / "law").mkdir(parents=True)
    for split, count in PAIRS.items():
        write(folder / f"it.{split}.tsv", (f"{s}\t{t}" for s, t in demo.pairs("it", split, count)))
        for side, code in enumerate(("de", "en")):
            write(folder / f"law/{split}.{code}", (pair[side] for pair in demo.pairs("law", split, count)))
    write(folder / "medical.tmx", memory(demo.pairs("medical", "train", PAIRS["train"])))
    write(folder / "README.md", ["Our corpora."])
    return folder


def memory(pairs: Sequence[tuple[str, str]]) -> list[str]:
    units = [
        "<tu>"
        + "".join(
            f'<tuv xml:lang="{tag}"><seg>{escape(text)}</seg></tuv>' for tag, text in zip(TAGS, pair, strict=True)
        )
        + "</tu>"
        for pair in pairs
    ]
    return ['<?xml version="1.0" encoding="UTF-8"?>', '<tmx version="1.4"><header/><body>', *units, "</body></tmx>"]


def write(file: Path, lines) -> None:
    file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def model(folder: Path) -> Path:
    """A random llama of two layers in float32, with a tokenizer."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    from caneft.tuning.pretraining import build_tokenizer

    tokenizer = build_tokenizer([text for pair in demo.pairs("it", "train", 60) for text in pair], 400)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    special = {key: getattr(tokenizer, key) for key in ("bos_token_id", "eos_token_id", "pad_token_id")}
    torch.manual_seed(0)
    config = AutoConfig.for_model("llama", vocab_size=len(tokenizer), **sizes, **special)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
