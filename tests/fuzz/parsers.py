"""Every parser of external files: sound files, made by the project's own writers, and the call that reads them."""

import contextlib
import gzip
import io
import json
import lzma
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from caneft import config, neurons
from caneft.commands import finished, init
from caneft.corpora import store
from caneft.corpora.store import Row
from caneft.importance import dumps
from caneft.reporting import corpora, overview, results, significant
from caneft.scoring import rival, translated
from caneft.selection import information_table
from caneft.storage import files
from tests.unit import fake_results

ROWS = [Row(f"it.test.{n}", f"Satz {n} über Mäuse.", f"Sentence {n} about mice.") for n in range(1, 9)]
TMX = (
    '<?xml version="1.0" encoding="UTF-8"?>\n<tmx version="1.4"><header/><body>'
    + "".join(
        f'<tu><tuv xml:lang="de"><seg>{row.source}</seg></tuv><tuv xml:lang="en"><seg>{row.target}</seg></tuv></tu>\n'
        for row in ROWS
    )
    + "</body></tmx>\n"
)
FORMATS = {
    "jsonl": ("corpus.jsonl", "".join(json.dumps({"source": r.source, "target": r.target}) + "\n" for r in ROWS)),
    "instruct": ("corpus.json", json.dumps([{"input": r.source, "output": r.target} for r in ROWS])),
    "tsv": ("corpus.tsv", "".join(f"{r.source}\t{r.target}\n" for r in ROWS)),
    "alternating": ("corpus.txt", "".join(f"{r.target}\n{r.source}\n" for r in ROWS)),
    "moses": ("corpus.de", "".join(f"{r.source}\n" for r in ROWS)),
    "tmx": ("corpus.tmx", TMX),
}


@dataclass(frozen=True)
class Parser:
    """make: writes sound files into a folder and returns the one to damage. read: reads what is in the folder.

    kind: how to damage the file. afresh: whether reading changes the folder.
    """

    name: str
    make: Callable[[Path], Path]
    read: Callable[[Path], Any]
    kind: str = "bytes"
    afresh: bool = False


def reader(form: str, pack: str = "") -> Parser:
    name, text = FORMATS[form]
    name += pack
    paths = {"source_path": name, "target_path": "sound"} if form == "moses" else {"path": name}
    languages = {"source_language": "de", "target_language": "en"} if form == "tmx" else {}
    domain = config.Domain.model_validate({"test": {"format": form, **paths, **languages}})

    def make(folder: Path) -> Path:
        (folder / "sound").write_text("".join(f"{row.target}\n" for row in ROWS), encoding="utf-8")
        raw = text.encode()
        if pack == ".zip":
            with zipfile.ZipFile(folder / name, "w", zipfile.ZIP_DEFLATED) as archive:
                archive.writestr(FORMATS[form][0], raw)
        else:
            (folder / name).write_bytes({"": bytes, ".gz": gzip.compress, ".xz": lzma.compress}[pack](raw))
        return folder / name

    def read(folder: Path) -> Any:
        rows, reports = store.prepare(domain, "it", folder.joinpath)
        "".join(row.source + row.target for row in rows["test"]).encode("utf-8")  # the text must be encodable
        return "repaired" if any(reports["test"]["repaired"].values()) else None

    return Parser(
        f"corpus {form}{pack}",
        make,
        read,
        {"instruct": "json", "jsonl": "bytes" if pack else "jsonl"}.get(form, "bytes"),
    )


def found_by_init(form: str) -> Parser:
    """A folder of two domains for which `init` writes a configuration; the training file of one is damaged."""
    name, text = FORMATS[form]
    ending = "/train.de" if form == "moses" else f".train{Path(name).suffix}"

    def make(folder: Path) -> Path:
        data = folder / "data"
        for domain in ("it", "law"):
            (data / domain).mkdir(parents=True, exist_ok=True)
            (data / domain / "train.en").write_text("".join(f"{row.target}\n" for row in ROWS), encoding="utf-8")
            (data / domain / "train.de").write_text("".join(f"{row.source}\n" for row in ROWS), encoding="utf-8")
        if form != "moses":
            shutil.rmtree(data / "it")
        (data / f"it{ending}").write_text(text, encoding="utf-8")
        return data / f"it{ending}"

    def read(folder: Path) -> None:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            yaml.safe_load(init._content(folder / "mine.yaml", folder / "data", None, "de-en"))

    return Parser(f"init {form}", make, read, {"instruct": "json", "jsonl": "jsonl"}.get(form, "bytes"))


def best_rivals(plan, root: Path) -> None:
    for block in plan.shown_blocks():
        significant.best_rival(root, block)


def made_by(plan, root: Path) -> None:
    overview.made_by(plan, root, results.costs(plan, root))


def one_json(name: str, file: str, content: Any, read: Callable[[Path], Any]) -> Parser:
    def make(folder: Path) -> Path:
        files.write_json(folder / file, content)
        return folder / file

    return Parser(name, make, lambda folder: read(folder / file), "json")


def prepared(folder: Path) -> Path:
    store.write(folder / "test.jsonl", ROWS)
    return folder / "test.jsonl"


def translations(folder: Path) -> Path:
    lines = [{"id": r.id, "domain": "it", "hypothesis": r.target, "flags": []} for r in ROWS]
    files.write_jsonl(folder / "test.jsonl", lines)
    return folder / "test.jsonl"


def neuron_set(folder: Path) -> Path:
    found = neurons.NeuronSet.from_flat(3, 40, [1, 7, 45, 119])
    neurons.save(folder / "draw0.npz", found, {"gamma": 0.5})
    return folder / "draw0.npz"


def read_neurons(folder: Path) -> None:
    neurons.load(folder / "draw0.npz")
    neurons.read_description(folder / "draw0.npz")


SHAPE = (2, 6, 5)
SIDECAR = {
    "domain": "it",
    "shape": list(SHAPE),
    "scale_exponent": 3,
    "unit": "neuron",
    "model": {"name": "tiny", "id": "id", "weights": {"model.safetensors": "abc"}},
    "samples": [{"id": str(n), "loss": 1.0, "response_tokens": 3 + n} for n in range(SHAPE[1])],
}


def dump(folder: Path) -> Path:
    rng = np.random.default_rng(0)
    np.save(folder / "it.npy", rng.random(SHAPE).astype(np.float16))
    stats = {name: rng.random(SHAPE[::2]).astype(np.float32) for name in dumps.SUMS}
    dumps.save_statistics(folder / "it.stats.npz", stats)
    files.write_json(folder / "it.json", SIDECAR)
    return folder / "it.npy"


def read_dump(folder: Path) -> None:
    found = information_table.open_dumps([folder / "it.npy"])
    found.scales, found.lengths, found.scores["it"][0, :, 0:5]


def partial(folder: Path) -> Path:
    shutil.rmtree(folder / ".it.partial", ignore_errors=True)
    made = dumps.Dump(folder / ".it.partial", SHAPE, [[0, 1, 2], [3, 4, 5]], 0, "tiny", "identity")
    sums = {name: np.ones(SHAPE[::2], np.float32) for name in dumps.SUMS}
    made.write(dumps.Scored(np.ones((2, 3, 5), np.float16), sums, np.ones(3, np.float32), 9, 1.0, 30, 0))
    made.release()
    return made.folder / "state.npz"


def read_partial(folder: Path) -> str | None:
    again = dumps.Dump(folder / ".it.partial", SHAPE, [[0, 1, 2], [3, 4, 5]], 0, "tiny", "identity")
    again.release()
    return None if again.finished else "repaired"


def patch_file(folder: Path) -> Path:
    import torch

    from caneft import patch

    found = neurons.NeuronSet.from_flat(2, 6, [1, 8])
    slices = tuple({"gate": torch.ones(1, 4), "up": torch.ones(1, 4), "down": torch.ones(4, 1)} for _ in range(2))
    names = {name: f"model.layers.{{layer}}.mlp.{name}_proj" for name in slices[0]}
    hashes = tuple(np.zeros((1, 8), np.uint8) for _ in range(2))
    made = patch.Patch(found, slices, hashes, torch.float32, {"id": "tiny"}, "llama", names)
    patch.save(folder / "patch.safetensors", made)
    return folder / "patch.safetensors"


def read_patch(folder: Path) -> None:
    from caneft import patch

    patch.read(folder / "patch.safetensors").hashes()


def adapters_file(folder: Path) -> Path:
    import torch
    from safetensors.torch import save_file

    from caneft.tuning import adapters

    sizes = {"domains": ["it"], "layers": 2, "bottleneck": 3, "hidden_size": 4}
    tensors = {name: torch.ones(shape) for name, shape in adapters._shapes(**sizes).items()}
    manifest = {"format": adapters.FORMAT, **sizes, "model_type": "llama", "base": {"id": "tiny"}}
    save_file(tensors, folder / "adapters.safetensors", metadata={"caneft": json.dumps(manifest)})
    return folder / "adapters.safetensors"


def read_adapters(folder: Path) -> None:
    from caneft.tuning import adapters

    adapters._read(folder / "adapters.safetensors")


def model_manifest(folder: Path) -> Path:
    (folder / "model.safetensors").write_bytes(b"")
    files.write_json(folder / "manifest.json", {"format": 1, "folder": ".", "weights": {"model.safetensors": "b"}})
    return folder / "manifest.json"


def read_model_manifest(folder: Path) -> None:
    from caneft.models import manifests

    manifests.read_manifest(folder / "manifest.json")


def of_model(name: str, kind: str = "json") -> Parser:
    """A model folder to resolve, with one of its files damaged."""

    def make(folder: Path) -> Path:
        from transformers import LlamaConfig, LlamaForCausalLM

        from caneft.tuning.pretraining import build_tokenizer

        tokenizer = build_tokenizer([row.source for row in ROWS], 300)
        sizes = {"hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 2, "num_attention_heads": 2}
        ids = {f"{token}_token_id": getattr(tokenizer, f"{token}_token_id") for token in ("bos", "eos", "pad")}
        LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), **sizes, **ids)).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        return folder / name

    def read(folder: Path) -> None:
        from caneft.models import checking

        checking.checked({"folder": str(folder), "trust_remote_code": False})

    return Parser(f"model {name}", make, read, kind)


def of_results(pick: Callable[[Path], Path], read: Callable[[Any, Path], Any], name: str, kind: str = "json") -> Parser:
    """A parser of finished results, with one of their files damaged."""
    plan = fake_results.plan()

    def make(folder: Path) -> Path:
        fake_results.write(plan, folder)
        return pick(folder)

    return Parser(name, make, lambda folder: read(plan, folder), kind)


def one_of(pattern: str) -> Callable[[Path], Path]:
    """The first file of a results folder that fits the pattern."""
    return lambda root: min(root.glob(pattern))


RAW = yaml.safe_load(Path(__file__).parents[1].joinpath("workflow/mini.yaml").read_text(encoding="utf-8"))


def configuration(folder: Path) -> Path:
    (folder / "config.yaml").write_text(yaml.safe_dump(RAW, sort_keys=False), encoding="utf-8")
    return folder / "config.yaml"


RUN = "runs/tiny/de-en/all/caneft/seed1"
PARSERS = [
    *(reader(form) for form in FORMATS),
    *(reader("jsonl", pack) for pack in (".gz", ".xz", ".zip")),
    *(found_by_init(form) for form in FORMATS if form != "alternating"),
    Parser("configuration", configuration, finished.open_plan, "yaml"),
    Parser("prepared corpus", prepared, lambda folder: store.read(folder / "test.jsonl"), "jsonl"),
    Parser(
        "translations",
        translations,
        lambda folder: translated.read(folder / "test.jsonl", {"it": ROWS}),
        "jsonl",
    ),
    Parser("neuron set", neuron_set, read_neurons),
    Parser("dump scores", dump, read_dump),
    Parser("dump sidecar", lambda folder: dump(folder).with_suffix(".json"), read_dump, "json"),
    Parser("dump statistics", lambda folder: dump(folder).with_suffix(".stats.npz"), read_dump),
    Parser("killed dump", partial, read_partial, afresh=True),
    Parser("patch", patch_file, read_patch),
    Parser("adapters", adapters_file, read_adapters),
    of_model("config.json"),
    of_model("generation_config.json"),
    of_model("tokenizer.json"),
    of_model("tokenizer_config.json"),
    of_model("model.safetensors", "bytes"),
    Parser("model manifest", model_manifest, read_model_manifest, "json"),
    one_json(
        "choice of a rate",
        "choice.json",
        {"grid": {"0.1": 40.5, "0.2": None}, "learning_rate": 0.1},
        lambda p: rival._dev(p, "bleu"),
    ),
    of_results(lambda root: root / RUN / "record.json", results.records, "run record"),
    of_results(lambda root: root / RUN / "scores/test.json", results.scores, "scores"),
    of_results(lambda root: root / RUN / "cost.json", results.costs, "cost"),
    of_results(lambda root: root / RUN / "log.jsonl", results.losses, "training log"),
    of_results(one_of("neurons/**/information.parquet"), results.information, "information table", "bytes"),
    of_results(one_of("neurons/**/information.json"), results.information, "information"),
    of_results(one_of("neurons/**/stability.json"), results.stability, "stability"),
    of_results(one_of("significance/**/*.json"), significant.comparisons, "significance"),
    of_results(one_of("significance/**/*.json"), significant.intervals, "intervals"),
    of_results(one_of("significance/**/*.json"), best_rivals, "best rival"),
    of_results(lambda root: root / RUN / "record.json", made_by, "record in the overview"),
    of_results(lambda root: root / RUN / "cost.json", made_by, "cost in the overview"),
    of_results(one_of("corpora/**/report.json"), corpora.corpus_table, "corpus report"),
]
BY_NAME = {parser.name: parser for parser in PARSERS}
