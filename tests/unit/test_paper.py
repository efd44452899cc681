"""config/paper.yaml: the size of its grid by arithmetic, and the messages if corpora are missing."""

from collections import Counter
from pathlib import Path

import yaml

from caneft import config
from caneft.config import Adapters, Full, Icl, Lora, Neurons
from caneft.plan import ARTEFACTS, TEST, Plan
from tests.messages import refused

PAPER = Path(__file__).parents[2] / "config" / "paper.yaml"
RAW = yaml.safe_load(PAPER.read_text(encoding="utf-8"))
CONFIG = config.load(RAW, [PAPER], check_files=False)
PLAN = Plan(CONFIG)


def stand_ins(root):
    """Writes small files in place of all corpora."""
    for _, source in config.sources(CONFIG):
        for path in source.paths():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text("a\nb\n", encoding="utf-8")


def test_the_grid_by_arithmetic():
    """3 models x 2 directions; 13 trained variants: 4 rates x 2 seeds, and 3 seeds; 4 variants on single domains."""
    runs = PLAN.runs()
    assert len(runs) == 1128
    assert Counter(run.mixture or "none" for run in runs) == {
        "none": 3 * 2,
        "all": 3 * 2 * (2 + 13 * (8 + 3)),
        **{f"only-{domain}": 3 * 4 * 3 for domain in ("it", "law", "medical", "subtitles")},
        **{f"only-{domain}": 3 * 4 * 3 for domain in ("education", "spoken", "thesis")},
    }
    assert sum(run.rate is not None for run in runs) == 3 * 2 * 13 * 8
    tested = Counter(domain for run in runs for domain in PLAN.domains(run) if TEST in PLAN.splits(run))
    assert tested["koran"] == 3 * (1 + 2 + 13 * (8 + 3) + 4 * 4 * 3)  # once for every run of its direction


def test_every_method_is_there_with_a_grid_of_one_size():
    kinds = {entry.method for entry in CONFIG.methods.values()}
    neurons = {"random", "bottom", "activation", "gradient", "importance", "specific", "joint", "caneft"}
    assert kinds == {"base", "icl", "full", "lora", "adapters"} | neurons
    assert {len(CONFIG.methods[name].grid) for name in PLAN.variants(*ARTEFACTS)} == {4}
    assert {1e-5 in CONFIG.methods[name].grid for name in PLAN.variants(Full, Neurons)} == {True}
    assert len(PLAN.variants(Icl)) == 2 and len(PLAN.variants(Lora, Adapters)) == 3
    assert CONFIG.trials.seeds == [0, 100] and CONFIG.seeds == [1, 2, 3]


def test_sizes_are_the_papers():
    assert CONFIG.importance.samples == 10_000 and CONFIG.selection.fraction == 0.01
    tuning, decoding = CONFIG.tuning, CONFIG.decoding
    assert (tuning.pairs_per_domain, tuning.epochs, tuning.batch_size) == (2000, 2, 5)
    for length in (1, 17, decoding.max_source_tokens):  # the formula of decoding.limits
        assert -(-decoding.length_factor * length // 1) + decoding.length_offset == 256
    limits = {d: {entry.test.limit for entry in CONFIG.directions[d].domains.values()} for d in CONFIG.directions}
    assert limits == {"de-en": {2000}, "zh-en": {1000}}
    for direction in CONFIG.directions.values():
        for domain in (entry for entry in direction.domains.values() if entry.train):
            assert domain.train.limit >= CONFIG.importance.samples
            assert domain.dev.limit is None or domain.dev.limit >= tuning.dev_pairs_per_domain


def test_missing_corpora_are_named(tmp_path):
    first = tmp_path / "multi_domain_new_split/it/train.de"
    with refused("paper.yaml", "directions.de-en.domains.it.train", first, "data_root") as caught:
        config.load(RAW | {"data_root": str(tmp_path)}, [PAPER])
    assert len(str(caught.value).splitlines()) <= 10
    stand_ins(tmp_path)
    missing = tmp_path / "UM-Corpus/data/Bilingual/Thesis/Bi-Thesis.txt"
    missing.unlink()
    with refused("directions.zh-en.domains.thesis.train", missing, "data_root"):
        config.load(RAW | {"data_root": str(tmp_path)}, [PAPER])
    missing.write_text("a\nb\n", encoding="utf-8")
    config.load(RAW | {"data_root": str(tmp_path)}, [PAPER])


def test_full_has_what_its_masters_need():
    """12 bytes per parameter of the largest model, 9.24 billion, and a third more while a checkpoint is read."""
    for model in CONFIG.models:
        shared, own = CONFIG.models[model].resources, PLAN.tuning_resources(model, "full")
        assert own.mem_mb * 2**20 > 16 * 9_241_705_984 > shared.mem_mb * 2**20
        assert (own.gpu, own.device_map) == (shared.gpu, shared.device_map) == (1, "none")
        assert PLAN.tuning_resources(model, "lora") == shared
    assert PLAN.tuning_threads("full") == 16 and PLAN.tuning_threads("caneft") == 1
