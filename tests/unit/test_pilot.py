"""The pilot of `samples: auto`: where it stops, and that no sample is scored twice or taken from another dump."""

import json

import numpy as np
import pytest

from caneft import config
from caneft.corpora.store import Row
from caneft.importance import dumping, growing
from caneft.plan import settings
from caneft.selection import pilot, stability
from caneft.selection.stability import Point
from tests.messages import refused

SETTINGS = config.Importance(tokens_per_batch=300)


@pytest.fixture
def rows(pairs):
    """64 pairs from each of two domains, which have different sentences."""
    return {
        domain: [Row(f"{domain}.train.{i}", *pairs[(i % 4) * 2 + side]) for i in range(64)]
        for side, domain in enumerate(("it", "law"))
    }


@pytest.fixture
def source(tiny_model, prompts, rows):
    def make(domain="it", rows=rows, **about):
        drawn = dumping.draw(rows[domain], prompts, domain, SETTINGS, None)
        made_of = {"model": {"name": "tiny", "id": "tiny", "weights": {}}, "corpus_sha256": "1"} | about
        return growing.Source(tiny_model(), drawn, prompts, SETTINGS, made_of)

    return make


def files(path):
    return {file.name: file.read_bytes() for file in path.parent.iterdir() if file.is_file()}


def passes(source):
    """Counts the samples that are scored from now on."""
    seen = []
    source.model.model.register_forward_pre_hook(
        lambda _, __, given: seen.append(len(given["input_ids"])), with_kwargs=True
    )
    return seen


def test_a_grown_dump_is_the_dump_of_all_samples(source, tmp_path):
    made, grown, whole = source(), tmp_path / "grown" / "it.npy", tmp_path / "whole" / "it.npy"
    seen = passes(made)
    for count in (5, 5, 16, 40):
        made.grow(grown, count)
    assert sum(seen) == 40
    made.write(whole, made.samples.part(0, 40))
    assert sorted(files(grown)) == ["it.json", "it.npy", "it.stats.npz"]
    np.testing.assert_allclose(np.load(grown), np.load(whole), rtol=2e-3, atol=1e-6)
    one, other = (json.loads(path.with_suffix(".json").read_text()) for path in (grown, whole))
    losses = [[entry.pop("loss") for entry in sidecar["samples"]] for sidecar in (one, other)]
    # Other batches change the last bits; each sidecar has the checksums of its own files.
    assert one.pop("files").keys() == other.pop("files").keys() == {"it.npy", "it.stats.npz"}
    assert one == other
    np.testing.assert_allclose(*losses, rtol=1e-5)
    with np.load(grown.with_suffix(".stats.npz")) as a, np.load(whole.with_suffix(".stats.npz")) as b:
        for name in ("activation", "gradient", "positive"):
            np.testing.assert_allclose(a[name], b[name], rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("change", ["corpus", "weights", "text", "draw", "torn", "no statistics"])
def test_a_dump_made_otherwise_is_not_grown(source, rows, tmp_path, change):
    path = tmp_path / "it.npy"
    begun = {
        "weights": {"model": {"name": "tiny", "id": "tiny", "weights": {"a": "b"}}},
        "corpus": {"corpus_sha256": "2"},
    }
    other = {"it": [row._replace(source=row.source + "!") for row in rows["it"]]} if change == "text" else rows
    other = {"it": rows["it"][::-1]} if change == "draw" else other
    source(rows=other, **begun.get(change, {})).grow(path, 8)
    if change == "torn":
        path.write_bytes(path.read_bytes()[:-2])
    if change == "no statistics":
        path.with_suffix(".stats.npz").unlink()
    made = source()
    seen = passes(made)
    made.grow(path, 16)
    assert sum(seen) == 16
    assert [entry["id"] for entry in json.loads(path.with_suffix(".json").read_text())["samples"]] == made.samples.ids[
        :16
    ]


def test_the_workflow_takes_over_what_the_pilot_kept(source, tmp_path):
    path, made = tmp_path / "it.npy", source()
    made.grow(growing.place(path), 8)
    kept = files(growing.place(path))
    seen = passes(made)
    growing.take_over(path, made, 8)
    assert seen == [] and files(path) == kept and files(growing.place(path)) == {}
    growing.take_over(tmp_path / "new" / "it.npy", made, 8)  # a domain that the pilot did not have
    assert sum(seen) == 8 and np.load(tmp_path / "new" / "it.npy").shape == (3, 8, 40)


def decide(source, tmp_path, monkeypatch, agreement, scope="model", **auto):
    """The decision, and how many samples were scored. Halves of n samples agree as `agreement` says by the geometric
    mean and in the mask's scope; all other curves are flat."""
    sizes, decides = [], ("caneft-geometric", scope)

    def curve(dumps, halves, *_):
        assert {dump.shape[1] for dump in dumps.scores.values()} == {2 * halves[0]}
        sizes.extend(halves)
        lists = {name: [0.0] for name in ("phi", "correlation", "held_out")}
        lists |= {f"noise_{name}": values for name, values in lists.items()} | {"noise_jaccard": [0.05]}
        return [
            Point(criterion, scope, halves[0], 4, 20.0, jaccard=[jaccard], **lists)
            for criterion in stability.CRITERIA
            for scope in ("model", "layer")
            for jaccard in [agreement(halves[0]) if (criterion, scope) == decides else 0.5]
        ]

    monkeypatch.setattr(stability, "curves", curve)
    configuration = {"smallest": 8, "gain": 0.05} | auto
    selection = settings.SelectionSettings(
        criterion="caneft",
        fraction=0.1,
        gamma=None,
        task_relevant=0.9,
        task_relevant_scope=scope,
        budget_task_relevant=None,
    )
    given = settings.PilotSettings(
        auto=config.AutoSamples(**configuration),
        dump=settings.DumpSettings(
            importance=SETTINGS,
            prompt=settings.PromptSettings(instruction="T", source_language="German", target_language="English"),
            dtype="float32",
        ),
        information=settings.InformationSettings(bins=4, null_permutations=2, error_rate=0.1, seed=0),
        stability=settings.StabilitySettings(bins=4, splits=1, seed=0, budget=selection),
    )
    sources = {domain: source(domain) for domain in ("it", "law")}
    seen = [passes(made) for made in sources.values()]
    decided = pilot.decide(sources, {domain: tmp_path / f"{domain}.npy" for domain in sources}, given)
    assert [sum(counted) for counted in seen] == [decided["samples"]] * 2
    assert [point["samples"] for point in decided["points"]] == sizes
    return decided["samples"], decided["flat"], sizes


@pytest.mark.parametrize("scope", ["model", "layer"])
def test_it_stops_where_the_curve_flattens(source, tmp_path, monkeypatch, scope):
    """0.2, 0.5, 0.53: the last doubling gained less than 0.05, so the answer is the 32 samples scored for it."""
    agreement = {4: 0.2, 8: 0.5, 16: 0.53, 32: 0.54}.get
    assert decide(source, tmp_path, monkeypatch, agreement, scope) == (32, True, [4, 8, 16])


def test_agreement_at_the_level_of_noise_is_not_flat(source, tmp_path, monkeypatch):
    agreement = {4: 0.06, 8: 0.06, 16: 0.4, 32: 0.42}.get
    assert decide(source, tmp_path, monkeypatch, agreement) == (64, True, [4, 8, 16, 32])


def test_the_largest_number_and_the_smallest_domain_end_it(source, tmp_path, monkeypatch):
    def grows(samples):
        return samples / 40

    assert decide(source, tmp_path / "a", monkeypatch, grows) == (64, False, [4, 8, 16, 32])
    assert decide(source, tmp_path / "b", monkeypatch, grows, largest=20) == (20, False, [4, 8, 10])
    with refused(64, "importance.auto.smallest", 100):
        decide(source, tmp_path / "c", monkeypatch, grows, smallest=100)
