"""Figures: files are whole, not blank and the same each time; labels do not overlap; every corner is drawn."""

import itertools
import json
import re
import statistics
import sys

import fake_results
import matplotlib.image
import numpy as np
import pandas as pd
import pytest

from caneft import neurons
from caneft.reporting import figures, inputs, jaccard, listing, neuron_figures, results, significant, style
from caneft.reporting.gallery import every_figure
from tests.messages import assert_names, refused

NAMES = [name for name in listing.FIGURES if name not in ("budget", "interference")]
"""Figures of a plan without a sweep over budgets and without mixtures of one domain."""
METHODS = {
    "base": {"method": "base"},
    "full": {"method": "full", "learning_rate": 5e-4},
    "random": {"method": "random", "learning_rate": 1e-2},
    "caneft": {"method": "caneft", "learning_rate": 1e-2},
}


GRID = [1e-3, 2e-3, 4e-3]
WITH_GRIDS = {
    "base": {"method": "base"},
    "full": {"method": "full", "learning_rate": GRID},
    "lora": {"method": "lora", "learning_rate": GRID},
    "caneft": {"method": "caneft", "learning_rate": GRID},
}


def read(plan, root):
    """The data of the figures."""
    blocks = plan.shown_blocks()
    return {
        "scores": results.scores(plan, root, inputs.drawn_blocks(plan)),
        "records": results.records(plan, root, blocks),
        "costs": results.costs(plan, root, blocks, "tuning"),
        "jaccard": (jaccard.sets(plan, root), jaccard.across(plan, root)),
        "trials": results.trials(plan, root, blocks),
        "losses": results.losses(plan, root, blocks),
        "neurons": results.neuron_counts(plan, root),
        "information": results.information(plan, root),
        "stability": results.stability(plan, root),
        "intervals": significant.intervals(plan, root),
    }


def draw(plan, root):
    """All figures by name."""
    return dict(every_figure(plan, root))


def texts(figure):
    return [text.get_text() for text in figure.findobj(matplotlib.text.Text) if text.get_text()]


@pytest.fixture(scope="module")
def plan():
    return fake_results.plan(METHODS, seeds=(1, 2))


@pytest.fixture
def root(tmp_path, plan):
    """The test's own tree, which it may change."""
    fake_results.write(plan, tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def untouched(tmp_path_factory, plan):
    """The tree that the figures of `drawn` show; no test may change it."""
    root = tmp_path_factory.mktemp("figures")
    fake_results.write(plan, root)
    return root


@pytest.fixture(scope="module")
def drawn(plan, untouched):
    """All figures, drawn once; tests only look at them."""
    return draw(plan, untouched)


def plot(plan, root, out, monkeypatch, most=None):
    """Runs the step. most: only this many figures, from the first on."""
    from workflow.scripts import plot

    config = plan.config.model_dump_json(exclude_none=True)
    monkeypatch.setattr(sys, "argv", ["plot", "--config", config, "--results", str(root), "--out", str(out)])
    monkeypatch.setattr(plot, "every_figure", lambda *given: itertools.islice(every_figure(*given), most))
    plot.main()


def assert_whole_not_blank_and_equal(names, first, second):
    """Asserts that both folders hold all files of these figures with equal bytes, and that no picture is blank."""
    wanted = {f"{name}.{suffix}" for name in names for suffix in ("pdf", "svg", "png")}
    assert {path.name for path in first.iterdir()} == {path.name for path in second.iterdir()} == wanted
    for name in wanted:
        assert (first / name).read_bytes() == (second / name).read_bytes(), name
    for name in names:
        pixels = matplotlib.image.imread(first / f"{name}.png")
        assert len(np.unique(pixels.reshape(-1, pixels.shape[-1]), axis=0)) > 10, name
        assert b"<dc:date>" not in (first / f"{name}.svg").read_bytes(), name


def test_the_step_leaves_files_that_are_whole_not_blank_and_deterministic(tmp_path, monkeypatch):
    """Covers one figure of a small study; the test below covers all of them."""
    plan = fake_results.plan({name: METHODS[name] for name in ("base", "caneft")})
    fake_results.write(plan, tmp_path)
    for folder in ("a", "b"):
        plot(plan, tmp_path, tmp_path / folder, monkeypatch, most=1)
    assert_whole_not_blank_and_equal(NAMES[:1], tmp_path / "a", tmp_path / "b")


@pytest.mark.slow
def test_the_step_draws_all_figures_and_each_is_deterministic(plan, root, tmp_path, monkeypatch):
    (tmp_path / "a").mkdir()
    (tmp_path / "a/interference.png").write_bytes(b"of an earlier configuration")
    plot(plan, root, tmp_path / "a", monkeypatch)
    for name, figure in draw(plan, root).items():
        style.save(figure, tmp_path / "b" / name)
    assert_whole_not_blank_and_equal(NAMES, tmp_path / "a", tmp_path / "b")


def test_every_figure_that_there_is_something_for_is_drawn_in_the_listed_order(plan, drawn):
    assert list(drawn) == NAMES == listing.figures(plan)


def test_pictures_of_an_earlier_configuration_go(tmp_path, monkeypatch):
    """Other pictures stay: they may be from a program that knows more figures."""
    plan = fake_results.plan({"base": METHODS["base"]})
    fake_results.write(plan, tmp_path)
    out = tmp_path / "figures"
    out.mkdir()
    for name in ("interference.svg", "stability.png", "own.png"):
        (out / name).write_bytes(b"old")
    plot(plan, tmp_path, out, monkeypatch)
    assert {path.name for path in out.iterdir()} == {"own.png", "scores.pdf", "scores.png", "scores.svg"}


def test_scores_have_the_intervals_and_signs_of_the_main_table(plan, untouched):
    scores = results.scores(plan, untouched)
    ends = {("tiny", "de-en", "all", "bleu", v, d): (41.0, 77.5) for v in METHODS for d in ("it", "law", "koran")}
    signs = significant.Signs({("full", "law"): "†", ("caneft", "koran"): "↓‡"}, "† better than base", "a test")
    figure = figures.scores(plan, scores, ends, {("tiny", "de-en", "all", "bleu"): signs})
    for axes in figure.axes:
        bars = [line for line in axes.lines if line.get_marker() == "|"]
        assert [(line.get_xdata().tolist(), line.get_ydata().tolist()) for line in bars] == [
            ([41.0, 77.5], [row, row]) for row in range(4)
        ]
    signed = {
        (axes.get_title(), i): text.get_text().lstrip("0123456789.")
        for axes in figure.axes
        for i, text in enumerate(axes.texts)
    }
    assert {key: sign for key, sign in signed.items() if sign} == {("law", 1): "†", ("koran (unseen)", 3): "↓‡"}
    assert "† better than base" in " ".join(texts(figure))


def test_single_seeds_are_pale(plan, untouched):
    axes = figures.scores(plan, results.scores(plan, untouched), {}, {}).axes[0]
    runs = [
        json.loads((untouched / f"runs/tiny/de-en/all/full/seed{seed}/scores/test.json").read_text())["domains"]["it"]
        for seed in (1, 2)
    ]
    pale = [line.get_xdata().tolist() for line in axes.lines if line.get_alpha() and line.get_marker() == "s"]
    assert pale == [[run["bleu"]["score"] for run in runs]]


def test_scores_show_the_mean_over_seeds_of_each_domain(untouched, drawn):
    path = "runs/tiny/de-en/all/caneft/seed{}/scores/test.json"
    values = [
        json.loads((untouched / path.format(seed)).read_text())["domains"]["koran"]["bleu"]["score"] for seed in (1, 2)
    ]
    panels = drawn["scores"].axes
    assert [axes.get_title() for axes in panels] == ["it", "law", "koran (unseen)"]
    assert [label.get_text() for label in panels[0].get_yticklabels()] == list(METHODS)
    assert panels[2].texts[list(METHODS).index("caneft")].get_text() == f"{sum(values) / 2:.1f}"


def test_layers_show_the_counts_of_the_neuron_set(plan, untouched, drawn):
    counts = results.neuron_counts(plan, untouched)
    axes = next(axes for axes in drawn["neurons_per_layer"].axes if axes.get_title() == "random")
    heights = [bar.get_height() for bar in axes.patches]
    assert heights == counts.query("variant == 'random'").groupby("layer")["neurons"].mean().tolist()
    assert sum(heights) == pytest.approx(115)


def test_layers_show_what_a_draw_among_the_candidates_would_give(plan, root):
    path = root / "neurons/tiny/de-en/all/caneft/draw0.npz"
    chosen = neurons.load(path)
    said = neurons.read_description(path) | {"candidates_per_layer": [300, 60, 40][: chosen.layers]}
    neurons.save(path, chosen, said)
    figure = neuron_figures.neurons_per_layer(plan, results.neuron_counts(plan, root))
    dashed = {
        axes.get_title(): [segment[0][1] for segment in axes.collections[0].get_segments()] for axes in figure.axes
    }
    shares = np.array(said["candidates_per_layer"]) / sum(said["candidates_per_layer"])
    assert dashed["caneft"] == pytest.approx(len(chosen) * shares)
    assert dashed["random"] == pytest.approx([len(chosen) / chosen.layers] * chosen.layers)


def test_information_marks_the_selected_neurons_and_the_null(drawn):
    axes = drawn["importance_information"].axes[0]
    lines = {line.get_label(): line for line in axes.lines}
    assert len(lines["caneft: 115"].get_xdata()) == 115
    assert len(lines["not selected: 1,037"].get_xdata()) == 1037
    assert lines["null at 0.01: 0.0021"].get_ydata()[0] == 0.0021
    assert axes.get_xscale() == "log"


def test_many_neurons_are_sampled_and_the_figure_says_so(plan):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"importance": rng.lognormal(size=30_000), "consensus": rng.random(30_000), "selected": False})
    frame.loc[:9, "selected"] = True
    frame.loc[20:24, "importance"] = 0.0
    sidecar = {"null": {"error_rate": 0.01, "quantile": 0.2}, "length": {"one_vs_rest": {"it": 3.0, "law": 2.0}}}
    found = results.Information(frame, sidecar, "caneft")
    axes = neuron_figures.importance_information(plan, {("m", "d", "x"): found}).axes[0]
    assert [len(line.get_xdata()) for line in axes.lines[:2]] == [20_000, 10]
    sampled, hidden = axes.get_xlabel().splitlines()[-2:]
    assert "20,000" in sampled and re.findall(r"\d+", hidden) == ["5", "0"]
    assert axes.get_ylim()[1] < 2, "a line far above must not press the neurons together"
    assert any(re.match("length.*: 2,", str(line.get_label())) for line in axes.lines)


def test_stability_shows_every_criterion_and_mask_at_each_size(untouched, drawn):
    points = json.loads((untouched / "neurons/tiny/de-en/all/stability.json").read_text())["points"]
    grid = np.reshape(drawn["stability"].axes, (2, 3))
    assert_names(" ".join(texts(drawn["stability"])), 115, "1,152")
    for (scope, line), (measure, column) in itertools.product(
        zip(("model", "layer"), grid, strict=True),
        zip(("jaccard", "phi", "held_out"), range(3), strict=True),
    ):
        own = [point for point in points if point["scope"] == scope]
        scale = 1000 if measure == "held_out" else 1
        shown = {text.get_label(): text for text in line[column].containers}
        assert list(shown) == ["caneft", "caneft-geometric", "caneft-harmonic", "joint"]
        for criterion, bars in shown.items():
            values = [point[measure] for point in own if point["criterion"] == criterion]
            assert bars.lines[0].get_xdata().tolist() == [25, 50, 100, 200, 400]
            means = bars.lines[0].get_ydata()
            assert means == pytest.approx([scale * statistics.mean(one) for one in values])
            errors = [scale * statistics.stdev(one) / 3**0.5 for one in values]
            (segments,) = bars.lines[2]
            halves = [(top[1] - bottom[1]) / 2 for bottom, top in segments.get_segments()]
            assert halves == pytest.approx(errors)
        noise = [[v for p in own if p["samples"] == n for v in p[f"noise_{measure}"]] for n in (25, 50, 100, 200, 400)]
        (grey,) = (of for of in line[column].lines if of.get_label() == "shuffled labels")
        assert grey.get_ydata() == pytest.approx([scale * statistics.mean(values) for values in noise])
    assert [label.get_text() for label in grid[1, 0].get_xticklabels()] == ["25", "50", "100", "200", "400"]
    highest = max(statistics.mean(point["jaccard"]) for point in points)
    assert grid[0, 0].get_ylim()[0] == 0 and highest < grid[0, 0].get_ylim()[1] < 1.3 * highest


def test_every_block_shows_its_own_stability(tmp_path):
    mixtures = {name: {"de-en": ["it", "law"]} for name in ("all", "other")}
    plan = fake_results.plan(METHODS, mixtures=mixtures)
    fake_results.write(plan, tmp_path)
    sizes = {"all": [25, 50], "other": [100, 200, 400]}
    for mixture, own in sizes.items():
        path = tmp_path / f"neurons/tiny/de-en/{mixture}/stability.json"
        path.write_text(json.dumps(fake_results.stability(np.random.default_rng(0), tuple(own))))
    panels = neuron_figures.stability(plan, results.stability(plan, tmp_path)).findobj(matplotlib.axes.Axes)
    assert [axes.lines[0].get_xdata().tolist() for axes in panels] == [[25, 50]] * 6 + [[100, 200, 400]] * 6


def test_without_a_mask_there_is_one_row_of_panels(plan, root):
    path = root / "neurons/tiny/de-en/all/stability.json"
    content = json.loads(path.read_text())
    points = [point | {"scope": "off"} for point in content["points"] if point["scope"] == "model"]
    path.write_text(json.dumps(content | {"points": points}))
    assert len(neuron_figures.stability(plan, results.stability(plan, root)).axes) == 3


@pytest.mark.parametrize("sizes", [(30,), (25, 50, 100, 200, 400, 800, 1600, 3200, 5000)], ids=len)
@pytest.mark.parametrize("splits", [1, 3])
def test_stability_labels_keep_apart(plan, root, sizes, splits):
    path = root / "neurons/tiny/de-en/all/stability.json"
    path.write_text(json.dumps(fake_results.stability(np.random.default_rng(0), sizes, splits)))
    figure = neuron_figures.stability(plan, results.stability(plan, root))
    figure.draw_without_rendering()
    for axes in figure.axes:
        titles = [axes.title for axes in figure.axes if axes.title.get_text()]
        for labels in (titles, [label for label in axes.get_xticklabels() if label.get_text()]):
            boxes = [label.get_window_extent() for label in labels]
            assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))
            assert all(figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1 for box in boxes)


def test_labels_overlap_neither_each_other_nor_the_border(tmp_path):
    methods = {"base": {"method": "base"}} | {
        f"variant-{i}": {"method": "lora", "learning_rate": 1e-2} for i in range(10)
    }
    plan = fake_results.plan(methods)
    rng = np.random.default_rng(0)
    fake_results.write(plan, tmp_path, lambda method, *_: 30.0 if method == "base" else float(rng.normal(70, 1)))
    figure = figures.seen_unseen(plan, results.scores(plan, tmp_path), results.trials(plan, tmp_path), {})
    figure.draw_without_rendering()
    right = figure.axes[1]
    boxes = [text.get_window_extent() for text in right.texts if text.get_text()]
    assert len(boxes) == 10
    assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))
    border = right.get_window_extent()
    assert all(border.x0 <= box.x0 and box.x1 <= border.x1 and border.y0 <= box.y0 for box in boxes)


def test_labels_hide_no_interval(tmp_path):
    """The methods are close together, and their bars cross."""
    methods = {"base": {"method": "base"}} | {
        f"variant-{i}": {"method": "lora", "learning_rate": 1e-2} for i in range(6)
    }
    plan = fake_results.plan(methods)
    rng = np.random.default_rng(0)
    fake_results.write(plan, tmp_path, lambda method, *_: 30.0 if method == "base" else float(rng.normal(70, 2)))
    scores = results.scores(plan, tmp_path)
    means = scores[scores["metric"] == "bleu"].groupby(["variant", "seen"])["score"].mean()
    columns = {True: "average_seen", False: "koran"}
    ends = {
        ("tiny", "de-en", "all", "bleu", variant, columns[seen]): (mean - 1, mean + 1)
        for (variant, seen), mean in means.items()
    }
    figure = figures.seen_unseen(plan, scores, results.trials(plan, tmp_path), ends)
    figure.draw_without_rendering()
    axes = figure.axes[1]
    bars = [line.get_xydata() for line in axes.lines if len(line.get_xydata()) == 2]
    labels = [text.get_window_extent() for text in axes.texts if text.get_text()]
    assert len(bars) == 12 and len(labels) == 6
    along = np.concatenate([np.linspace(*axes.transData.transform(bar), 200) for bar in bars])
    assert not any(label.contains(x, y) for label in labels for x, y in along)


def test_no_text_is_smaller_than_seven_points(drawn):
    for figure in drawn.values():
        assert min(text.get_fontsize() for text in figure.findobj(matplotlib.text.Text) if text.get_text()) >= 7


def test_several_blocks_are_titled_parts_of_one_figure(tmp_path):
    mixtures = {"all": {"de-en": ["it", "law"]}, "again": {"de-en": ["it", "law"]}}
    plan = fake_results.plan({name: METHODS[name] for name in ("base", "random", "caneft")}, mixtures=mixtures)
    fake_results.write(plan, tmp_path)
    for figure in draw(plan, tmp_path).values():
        assert {"tiny, de-en, all", "tiny, de-en, again"} <= set(texts(figure))


def test_mixtures_of_one_domain_are_in_no_figure(tmp_path):
    mixtures = {"all": {"de-en": ["it", "law"]}, "law": {"de-en": ["law"]}}
    plan = fake_results.plan({name: METHODS[name] for name in ("base", "random", "caneft")}, mixtures=mixtures)
    fake_results.write(plan, tmp_path)
    for figure in draw(plan, tmp_path).values():
        assert not any("tiny, de-en" in text for text in texts(figure)), "one block needs no title"
    of_law = [name for name in inputs.figure_inputs(plan) if "/law/" in name]
    assert of_law and all("/scores/" in name for name in of_law), "interference needs their scores, and no more"


def test_what_two_mixtures_select_on_one_is_drawn_once(tmp_path):
    mixtures = {
        "part": {"de-en": {"domains": ["it", "law"], "select_on": "all"}},
        "all": {"de-en": {"domains": ["it", "law"], "methods": ["base", "full", "random"]}},
    }
    plan = fake_results.plan(METHODS, mixtures=mixtures)
    fake_results.write(plan, tmp_path)
    drawn = draw(plan, tmp_path)
    assert {"tiny, de-en, all", "tiny, de-en, part"} <= set(texts(drawn["scores"]))
    assert [axes.get_title() for axes in drawn["neurons_per_layer"].axes] == ["random", "caneft"]
    assert len(drawn["importance_information"].axes) == 1 and len(drawn["stability"].axes) == 6
    assert "caneft: 115" in [line.get_label() for line in drawn["importance_information"].axes[0].lines]


def test_what_has_nothing_to_show_is_not_drawn(tmp_path):
    plan = fake_results.plan({name: METHODS[name] for name in ("base", "full")}, unseen=())
    fake_results.write(plan, tmp_path)
    assert list(draw(plan, tmp_path)) == ["scores", "quality_cost", "training"]
    assert not {"unseen", "criteria", "stability", "budget", "interference", "trials"} & set(listing.tables(plan))
    untrained = fake_results.plan({"base": METHODS["base"]})
    assert listing.figures(untrained) == ["scores"]


def test_blocks_without_an_unseen_domain_are_left_out_and_the_other_is_named(tmp_path):
    mixtures = {"all": {"de-en": ["it", "law"]}, "none": {"de-en": {"domains": ["it", "law"], "test": []}}}
    plan = fake_results.plan({name: METHODS[name] for name in ("base", "full")}, mixtures=mixtures)
    fake_results.write(plan, tmp_path)
    drawn = draw(plan, tmp_path)
    titles = [{text for text in texts(drawn[name]) if text.startswith("tiny")} for name in ("scores", "seen_unseen")]
    assert titles == [{"tiny, de-en, all", "tiny, de-en, none"}, {"tiny, de-en, all"}]


def test_every_figure_input_is_needed_and_named_when_missing(plan, root):
    for name in inputs.figure_inputs(plan):
        kept = (root / name).read_bytes()
        (root / name).unlink()
        with refused(root / name):
            read(plan, root)
        (root / name).write_bytes(kept)


@pytest.mark.parametrize("suffix", ["npz", "parquet", "json"])
def test_a_broken_selection_file_is_named(plan, root, suffix):
    for path in root.glob(f"neurons/**/*.{suffix}"):
        path.write_bytes(b"no")
    with refused(root, f".{suffix}"):
        read(plan, root)


@pytest.mark.parametrize(
    ("change", "shown"), [({"points": None}, "NoneType"), ({"points": [{}]}, "'criterion'")], ids=str
)
def test_an_unusable_stability_file_is_named(plan, root, change, shown):
    path = root / "neurons/tiny/de-en/all/stability.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with refused(path, shown):
        results.stability(plan, root)
