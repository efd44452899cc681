"""The dump: which samples it has, what it stores, and what is refused without leaving a trace."""

import json
import re
import threading

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pytest import approx

from caneft import config
from caneft.corpora.store import Row
from caneft.errors import InputError
from caneft.importance import dumping, dumps
from caneft.importance.dumps import Dump, DumpReader, Progress, Scored
from caneft.importance.hooks import Scores, stored
from caneft.importance.sending import Sender
from caneft.models.units import unit_layers
from caneft.neurons import UNITS
from caneft.plan import settings
from caneft.prompts import Prompts, batches
from tests import naive
from tests.messages import refused

ABOUT = {"model": {"name": "tiny", "id": "tiny", "weights": {}}}


@pytest.fixture
def rows(pairs):
    return [Row(f"it.train.{number}", *pair) for number, pair in enumerate(pairs, start=1)]


@pytest.fixture
def dump(tmp_path, prompts, rows):
    """Dumps a model's scores into tmp_path / "dump"; returns the drawn samples and the path."""

    def write(model, about=ABOUT, **settings):
        chosen = config.Importance(**{"samples": 7, "tokens_per_batch": 250} | settings)
        samples = dumping.draw(rows, prompts, "it", chosen, chosen.samples)
        path = tmp_path / "dump" / "it.npy"
        dumping.write(path, model, samples, prompts, chosen, about)
        return samples, path

    return write


def exponent_named_by(error) -> int:
    return int(re.search(r"models\.tiny\.scale_exponent\b[^\d-]*(-?\d+)", str(error.value)).group(1))


def scored(scores, exponent=0):
    """One batch as from the engine: scores (layers, samples, neurons), all else 0."""
    scores = torch.as_tensor(np.asarray(scores, dtype=np.float32))
    layers, samples, neurons = scores.shape
    sums = torch.zeros(3, layers, neurons)
    (batch,) = stored([Scores(scores, torch.zeros(samples), sums, samples)], exponent)
    return batch


def begun(folder, shape, batches, exponent=0, identity="a"):
    return Dump(folder / "x.partial", shape, batches, exponent, "tiny", identity)


@given(
    scores=st.lists(st.floats(2**-36, 15, allow_subnormal=False, width=32), min_size=1, max_size=30),
    exponent=st.integers(10, 12),
)
def test_stored_numbers_are_the_scores_times_a_power_of_two_rounded(scores, exponent):
    found = scored(np.array(scores).reshape(1, -1, 1), exponent).scores[0, :, 0]
    assert found.dtype == np.float16
    for score, stored_score in zip(scores, found.tolist(), strict=True):
        steps = score * 2.0**exponent * 2**24  # float16's grid below 2**-13 is 2**-24; above, 10 bits after the first
        grain = max(1, 2.0 ** (np.floor(np.log2(steps)) - 10))
        assert abs(stored_score * 2**24 - steps) <= grain / 2


def test_batches_may_come_in_any_order(tmp_path):
    scores = np.arange(1, 25, dtype=np.float32).reshape(2, 4, 3)
    batches = [[3, 1], [0, 2]]
    dump = begun(tmp_path, (2, 4, 3), batches)
    for chosen in batches:
        dump.write(scored(scores[:, chosen]))
    dump.check()
    dump.finish(tmp_path / "x.npy")
    assert np.array_equal(np.load(tmp_path / "x.npy"), scores)
    assert [file.name for file in tmp_path.iterdir()] == ["x.npy"]


def test_batches_may_come_from_another_machine(tmp_path):
    """They come in files, the last of which appears late, as in a network file system; none is left."""
    scores = np.arange(1, 25, dtype=np.float32).reshape(2, 4, 3)
    batches = [[3, 1], [0], [2]]
    dump = begun(tmp_path, (2, 4, 3), batches)
    sender = Sender(tmp_path / "x.partial", batches, [0, 2], 0, "tiny", "a")
    sender.write(scored(scores[:, batches[0]]))
    assert dump.mine == [0, 1, 2] and not np.load(tmp_path / "x.partial" / "scores.npy").any()
    dump.mine = [1]
    dump.write(scored(scores[:, batches[1]]))
    assert dump.finished == 2
    late = threading.Timer(0.5, lambda: sender.write(scored(scores[:, batches[2]])))
    late.start()
    with refused("batch-2.npz", "run the workflow again"):
        dump.check()
    dump.take(patience=60)
    late.join()
    dump.check()
    assert not list(tmp_path.rglob("batch-*"))
    dump.finish(tmp_path / "x.npy")
    assert np.array_equal(np.load(tmp_path / "x.npy"), scores)


def test_what_another_machine_sent_of_another_dump_is_not_taken(tmp_path):
    Sender(tmp_path / "x.partial", [[0, 1]], [0], 0, "tiny", "other").write(scored(np.ones((1, 2, 3))))
    dump = begun(tmp_path, (1, 2, 3), [[0, 1]])
    assert dump.mine == [0] and dump.finished == 0 and not list(tmp_path.rglob("batch-*"))


def test_one_batch_is_fetched_while_the_next_is_computed():
    """Order and content do not change; the source is one batch ahead."""
    asked = []

    def source():
        for value in (1.0, 2.0, 3.0):
            asked.append(value)
            yield Scores(torch.full((1, 1, 1), value), torch.tensor([value]), torch.zeros(3, 1, 1), 1)

    found = []
    for batch in stored(source(), 1):
        found.append((float(batch.scores.item()), float(batch.loss.item()), len(asked)))
    assert found == [(2.0, 1.0, 2), (4.0, 2.0, 3), (6.0, 3.0, 3)]
    assert list(stored([], 1)) == []


def test_what_a_dump_leaves(dump, tiny_model, rows):
    model = tiny_model()
    samples, path = dump(model, scale_exponent=9)
    assert sorted(file.name for file in path.parent.iterdir()) == ["it.json", "it.npy", "it.stats.npz"]
    scores, sidecar = np.load(path), json.loads(path.with_suffix(".json").read_text())
    assert scores.dtype == np.float16 and scores.flags.c_contiguous
    assert sidecar["shape"] == list(scores.shape) == [3, 7, 40]
    assert sidecar["axes"] == ["layer", "sample", "neuron"] and "|a * dL/da|" in sidecar["meaning"]
    assert sidecar["prompt"] == {"form": "chat", "text": "Translate.\n{source}"}
    assert sidecar["scale_exponent"] == 9 and sidecar["domain"] == "it" and sidecar["model"] == ABOUT["model"]
    expected = [naive.importance(model, e.prompt, e.response) for e in samples.examples]
    for sample, score in enumerate(expected):
        stored = scores[:, sample].astype(np.float64) / 2**9
        assert stored == approx(score.numpy(), rel=2**-10, abs=2**-24)
    passes = [naive.one_pass(model, e.prompt, e.response) for e in samples.examples]
    listed = sidecar["samples"]
    assert [entry["loss"] for entry in listed] == approx([found.loss for found in passes], rel=1e-5)
    assert [entry["response_tokens"] for entry in listed] == [len(e.response) for e in samples.examples]
    assert [entry["id"] for entry in listed] == samples.ids
    with np.load(path.with_suffix(".stats.npz")) as stats:
        assert {name: stats[name].shape for name in stats} == dict.fromkeys(
            ("activation", "gradient", "positive"), (3, 40)
        )


@pytest.fixture
def made_of(tmp_path):
    """A sidecar's facts about a model and the settings for a unit."""
    corpus = tmp_path / "train.jsonl"
    corpus.write_text("pairs")

    def about(model, **unit):
        prompt = settings.PromptSettings(instruction="T", source_language="German", target_language="English")
        given = settings.DumpSettings(importance=config.Importance(), prompt=prompt, dtype="float32", **unit)
        manifest = {"id": "tiny", "hidden_size": 24, "weights": {}, "layers": 3}
        return dumping.about("tiny", model, manifest, corpus, given)

    return about


@pytest.mark.parametrize("unit", UNITS)
def test_a_sidecar_says_how_many_weights_a_unit_has(made_of, tiny_model, unit):
    """Counted from the modules: all their weights, divided among the units."""
    model = tiny_model("qwen3")
    block = model.model.layers[0].mlp if unit == "neuron" else model.model.layers[0].self_attn
    weights = sum(p.numel() for name, p in block.named_parameters() if name.endswith("proj.weight"))
    about = made_of(model, unit=unit)
    expected = {"name": "tiny", "id": "tiny", "hidden_size": 24, "weights": {}}
    assert about["model"] == expected | {"unit_parameters": weights // unit_layers(model, unit)[0].width}
    assert about["unit"] == unit


def test_settings_for_neurons_are_written_as_before_there_were_heads(made_of, tiny_model):
    """Otherwise every finished dump would be made again."""
    assert made_of(tiny_model())["settings"].keys() == {"importance", "prompt", "dtype"}
    assert made_of(tiny_model(), unit="head")["settings"]["unit"] == "head"


@pytest.mark.parametrize("family", ["llama", "gemma2", "phi3"])
def test_a_dump_of_heads(dump, made_of, tiny_model, family):
    model = tiny_model(family)
    samples, path = dump(model, made_of(model, unit="head"))
    scores, sidecar = np.load(path), json.loads(path.with_suffix(".json").read_text())
    assert sidecar["shape"] == list(scores.shape) == [3, 7, 2]
    assert sidecar["axes"] == ["layer", "sample", "head"] and sidecar["unit"] == "head"
    assert "o_proj" in sidecar["meaning"]
    for sample, example in enumerate(samples.examples):
        expected = naive.head_importance(model, example.prompt, example.response).numpy()
        assert scores[:, sample].astype(np.float64) / 2**12 == approx(expected, rel=2**-10, abs=2**-24)


def test_a_begun_dump_of_neurons_is_not_gone_on_with_for_heads(dump, made_of, tiny_model):
    """The dump starts over even if a layer has as many heads as neurons."""
    model = tiny_model(intermediate_size=2)
    handle = interrupted(model, 2)
    with pytest.raises(Killed):
        dump(model, ABOUT, tokens_per_batch=90)
    handle.remove()
    _, path = dump(model, ABOUT | {"unit": "head"}, tokens_per_batch=90)
    disturbed = np.load(path)
    _, path = dump(model, ABOUT | {"unit": "head"}, tokens_per_batch=90)
    assert np.array_equal(disturbed, np.load(path))


@pytest.mark.parametrize("exponent", [40, -60], ids=["saturated", "vanished"])
def test_a_wrong_exponent_is_refused_and_the_message_names_one_that_fits(dump, tiny_model, tmp_path, exponent):
    model = tiny_model()
    with refused("tiny", "float16") as error:
        dump(model, scale_exponent=exponent)
    assert list((tmp_path / "dump").iterdir()) == []
    dump(model, scale_exponent=exponent_named_by(error))


def test_scores_that_are_not_finite_are_refused(dump, tiny_model, tmp_path):
    model = tiny_model()
    with torch.no_grad():
        model.model.layers[1].mlp.up_proj.weight[3, 3] = float("nan")
    with refused("tiny") as error:
        dump(model)
    assert "scale_exponent" not in str(error.value)  # no exponent would help
    assert list((tmp_path / "dump").iterdir()) == []


def test_so_many_samples_that_their_sidecar_is_not_read_are_refused_before_they_are_scored(
    dump, tiny_model, tmp_path, monkeypatch
):
    """The bound is safe: any sidecar that is written can be read."""
    monkeypatch.setattr(dumping, "OF_SIDECAR", 3000)
    samples, path = dump(tiny_model())
    written = path.with_suffix(".json").stat().st_size
    monkeypatch.setattr(dumping, "LARGEST_JSON", 2 * written + 3000)
    dump(tiny_model())
    monkeypatch.setattr(dumping, "LARGEST_JSON", written - 1)
    monkeypatch.setattr(dumping, "_fill", None)  # they would be scored here
    with refused("importance.samples", len(samples.ids), f"{written - 1:,}"):
        dump(tiny_model())


def test_a_failed_dump_leaves_the_old_one_alone(dump, tiny_model):
    _, path = dump(tiny_model())
    before = {file.name: file.read_bytes() for file in path.parent.iterdir()}
    with pytest.raises(InputError):
        dump(tiny_model(seed=1), scale_exponent=40)
    assert {file.name: file.read_bytes() for file in path.parent.iterdir()} == before


def test_one_percent_may_vanish(tmp_path):
    """One percent of the positive scores; exact zeros are no loss."""
    scores = np.ones((1, 1, 300), np.float32)
    scores[0, 0, :100] = 0
    scores[0, 0, 100:102] = 2**-26
    dump = begun(tmp_path, scores.shape, [[0]])
    dump.write(scored(scores))
    dump.check()
    dump.discard()
    scores[0, 0, 102] = 2**-26
    dump = begun(tmp_path, scores.shape, [[0]])
    dump.write(scored(scores))
    with refused("1.5%"):
        dump.check()


class Killed(BaseException):
    """Stands for anything that ends a process between two batches."""


def interrupted(model, after):
    """Makes the model die in the pass after this many."""
    passes = []

    def count(*_):
        passes.append(1)
        if len(passes) > after:
            raise Killed

    return model.model.register_forward_pre_hook(count)


def test_a_killed_dump_goes_on_at_the_last_finished_batch_to_the_same_bytes(dump, tiny_model, tmp_path):
    model = tiny_model()
    _, path = dump(model, tokens_per_batch=90)
    undisturbed = {file.name: file.read_bytes() for file in path.parent.iterdir()}
    for file in path.parent.iterdir():
        file.unlink()
    for after in (1, 2):  # one batch is always on its way to the disk
        handle = interrupted(model, after)
        with pytest.raises(Killed):
            dump(model, tokens_per_batch=90)
        handle.remove()
        assert [file.name for file in path.parent.iterdir()] == [".it.partial"]
    seen = []
    handle = model.model.register_forward_pre_hook(lambda *_: seen.append(1))
    dump(model, tokens_per_batch=90)
    handle.remove()
    sidecar = json.loads(undisturbed["it.json"])
    assert {file.name: file.read_bytes() for file in path.parent.iterdir()} == undisturbed
    assert 0 < len(seen) < len(sidecar["samples"])
    plan = batches([entry["tokens"] for entry in sidecar["samples"]], 90)
    assert len(seen) == len(plan) - 1  # the first run finished no batch for certain, the second one


@pytest.mark.parametrize("change", ["weights", "prompt", "corpus", "settings", "samples"])
def test_nothing_foreign_is_gone_on_with(dump, tiny_model, tmp_path, prompts, rows, change):
    """Each change makes another dump: what was begun starts over, and ends with the bytes of an undisturbed one."""
    about = {"model": {"name": "tiny", "id": "tiny", "weights": {}}, "corpus_sha256": "1"}
    now = {"model": tiny_model(), "about": about, "prompts": prompts, "settings": {}, "rows": rows}
    model = tiny_model(seed=1) if change == "weights" else now["model"]
    before = (
        now
        | {
            "weights": {"about": about | {"model": about["model"] | {"weights": {"a": "b"}}}, "model": model},
            "prompt": {"prompts": Prompts(prompts.tokenizer, lambda domain: "Please translate.")},
            "corpus": {"about": about | {"corpus_sha256": "2"}, "rows": rows[::-1]},
            "settings": {"settings": {"scale_exponent": 11}},
            "samples": {"settings": {"seed": 5}},
        }[change]
    )

    def write(folder, given):
        chosen = config.Importance(**{"samples": 5, "tokens_per_batch": 90} | given["settings"])
        drawn = dumping.draw(given["rows"], given["prompts"], "it", chosen, chosen.samples)
        about = given["about"] | {"settings": chosen.model_dump()}
        dumping.write(folder / "it.npy", given["model"], drawn, given["prompts"], chosen, about)

    handle = interrupted(model, 2)
    with pytest.raises(Killed):
        write(tmp_path / "disturbed", before)
    handle.remove()
    assert (tmp_path / "disturbed" / ".it.partial" / "state.npz").exists()
    for name in ("disturbed", "undisturbed"):
        write(tmp_path / name, now)
    files = [sorted((tmp_path / name).iterdir()) for name in ("disturbed", "undisturbed")]
    assert [file.read_bytes() for file in files[0]] == [file.read_bytes() for file in files[1]]


def written(folder, ones=1):
    """A partial dump with one of two batches done, as a killed process leaves it."""
    dump = begun(folder, (1, 2, 4), [[0], [1]])
    dump.write(scored(np.full((1, 1, 4), ones)))
    dump.release()
    return dump.folder


def test_finished_batches_are_taken_over(tmp_path):
    written(tmp_path)
    assert begun(tmp_path, (1, 2, 4), [[0], [1]]).finished == 1


@pytest.mark.parametrize("damage", ["lost page", "torn state", "no scores", "short scores", "other identity"])
def test_damaged_or_foreign_remains_are_begun_anew(tmp_path, damage):
    folder, identity = written(tmp_path), "a"
    match damage:
        case "lost page":
            np.lib.format.open_memmap(folder / "scores.npy", mode="r+")[0, 0, 2] = 0
        case "torn state":
            (folder / "state.npz").write_bytes((folder / "state.npz").read_bytes()[:-300])
        case "no scores":
            (folder / "scores.npy").unlink()
        case "short scores":
            (folder / "scores.npy").write_bytes((folder / "scores.npy").read_bytes()[:-12])
        case "other identity":
            identity = "b"
    dump = begun(tmp_path, (1, 2, 4), [[0], [1]], identity=identity)
    assert dump.finished == 0
    for value in (1, 2):
        dump.write(scored(np.full((1, 1, 4), value)))
    dump.finish(tmp_path / "x.npy")
    assert np.load(tmp_path / "x.npy").tolist() == [[[1] * 4, [2] * 4]]


def test_two_processes_never_write_the_same_dump(tmp_path):
    first = begun(tmp_path, (1, 2, 4), [[0], [1]])
    with refused(tmp_path / "x.partial"):
        begun(tmp_path, (1, 2, 4), [[0], [1]])
    first.release()
    begun(tmp_path, (1, 2, 4), [[0], [1]])


def test_a_folder_goes_before_others_may_have_it(tmp_path, monkeypatch):
    """Removing the old content must not remove what another process then begins there."""
    dump = begun(tmp_path, (1, 2, 4), [[0], [1]])
    removed, tried = dumps.shutil.rmtree, []

    def remove(folder, **options):
        with refused(folder):
            begun(tmp_path, (1, 2, 4), [[0], [1]])
        tried.append(folder)
        removed(folder, **options)

    monkeypatch.setattr(dumps.shutil, "rmtree", remove)
    dump.discard()
    assert tried == [dump.folder] and not dump.folder.exists()
    assert begun(tmp_path, (1, 2, 4), [[0], [1]]).finished == 0


def test_saturation_is_said_at_once(tmp_path):
    dump = begun(tmp_path, (1, 2, 4), [[0], [1]], exponent=12)
    with refused("tiny", 100, "float16") as error:
        dump.write(scored(np.full((1, 1, 4), 100), 12))
    assert exponent_named_by(error) == 5


def test_a_reader_gives_the_blocks_of_the_array(tmp_path):
    scores = np.arange(3 * 5 * 7, dtype=np.float16).reshape(3, 5, 7)
    np.save(tmp_path / "x.npy", scores)
    reader = DumpReader(tmp_path / "x.npy")
    assert reader.shape == (3, 5, 7) and reader.dtype == np.float16
    for layer in range(3):
        for start, stop in ((0, 7), (2, 5), (6, 7), (5, 100), (3, 3)):
            block = reader[layer, :, start:stop]
            assert np.array_equal(block, scores[layer, :, start:stop]) and block.flags.c_contiguous
    with pytest.raises(IndexError):
        reader[3, :, 0:2]
    with pytest.raises(IndexError):
        reader[0, 1:2, 0:2]


@pytest.mark.parametrize(
    "content",
    [
        np.zeros((2, 3, 4), np.float32),
        np.zeros((2, 3), np.float16),
        np.asfortranarray(np.zeros((2, 3, 4), np.float16)),
    ],
    ids=["type", "axes", "order"],
)
def test_what_is_no_dump_is_refused_by_name(tmp_path, content):
    np.save(tmp_path / "x.npy", content)
    with refused(tmp_path / "x.npy", content.dtype, content.shape):
        DumpReader(tmp_path / "x.npy")


def test_a_cut_or_foreign_file_is_refused_by_name(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((2, 3, 4), np.float16))
    whole = (tmp_path / "x.npy").read_bytes()
    for content in (whole[:-1], whole + b"0", whole[:60], b"", b"not an array at all", b"PK" + whole):
        (tmp_path / "x.npy").write_bytes(content)
        with refused(tmp_path / "x.npy"):
            DumpReader(tmp_path / "x.npy")
    with refused(tmp_path / "nothing.npy"):
        DumpReader(tmp_path / "nothing.npy")


def drawn(rows, prompts, count, **settings):
    return dumping.draw(rows, prompts, "it", config.Importance(**settings), count)


def test_a_smaller_draw_is_the_beginning_of_a_larger(rows, prompts):
    every = drawn(rows, prompts, None).ids
    assert sorted(every) == sorted(row.id for row in rows)
    for count in range(1, len(rows) + 1):
        assert drawn(rows, prompts, count).ids == every[:count]
    assert len({tuple(drawn(rows, prompts, 5, seed=seed).ids) for seed in range(10)}) > 1


def test_long_samples_are_left_out_before_the_draw_and_counted(rows, prompts):
    lengths = {row.id: len(prompts.encode(row.source, row.target)) for row in rows}
    limit = sorted(lengths.values())[4]
    found = drawn(rows, prompts, 5, max_tokens=limit)
    assert sorted(found.ids) == sorted(name for name, length in lengths.items() if length <= limit)
    assert found.left_out == {"too_long": 3, "unusable": 0}
    with refused("it", 5, 6, "importance.samples"):
        drawn(rows, prompts, 6, max_tokens=limit)


def test_each_sample_keeps_its_own_examples(rows, prompts):
    found = drawn(rows, prompts, 6)
    by_id = {row.id: prompts.encode(row.source, row.target, "it") for row in rows}
    assert found.examples == [by_id[name] for name in found.ids]
    part = found.part(2, 4)
    assert (part.ids, part.examples) == (found.ids[2:4], found.examples[2:4])


def test_statistics_are_means_over_all_response_positions():
    """Two batches of 3 and 5 positions with sums of 7 and 3 have a mean of 10 / 8."""
    sums = {name: np.zeros((1, 2), np.float64) for name in ("activation", "gradient", "positive")}
    progress = Progress(sums, np.zeros(2, np.float32))
    for sample, (total, positions) in enumerate([(7, 3), (3, 5)]):
        batch = {name: np.full((1, 2), total, np.float32) for name in sums}
        progress.add(Scored(np.ones((1, 1, 2), np.float16), batch, np.ones(1), positions, 1.0, 2, 0), [sample])
    assert {name: found.tolist() for name, found in progress.statistics().items()} == dict.fromkeys(sums, [[1.25] * 2])
