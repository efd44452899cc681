"""Figures: files that are whole, not blank and the same each time; labels that do not overlap; every corner drawn."""

import itertools
import json
import re
import sys

import fake_results
import matplotlib.image
import numpy as np
import pandas as pd
import pytest

from caneft.errors import InputError
from caneft.reporting import inputs, jaccard, listing, neuron_figures, results, style
from caneft.reporting.gallery import every_figure

NAMES = list(listing.FIGURES)
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
    """What the figures are drawn from."""
    blocks = inputs.shown_blocks(plan)
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
    }


def draw(plan, root):
    """All figures by name."""
    return dict(every_figure(plan, root))


def texts(figure):
    return [text.get_text() for text in figure.findobj(matplotlib.text.Text) if text.get_text()]


@pytest.fixture
def plan():
    return fake_results.plan(METHODS, seeds=(1, 2))


@pytest.fixture
def root(tmp_path, plan):
    fake_results.write(plan, tmp_path)
    return tmp_path


def test_files_are_whole_not_blank_and_deterministic(plan, root, tmp_path):
    for folder in ("a", "b"):
        for name, figure in draw(plan, root).items():
            style.save(figure, tmp_path / folder / name)
    wanted = {f"{name}.{suffix}" for name in NAMES for suffix in ("pdf", "svg", "png")}
    assert {path.name for path in (tmp_path / "a").iterdir()} == wanted
    for name in wanted:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name
    for name in NAMES:
        pixels = matplotlib.image.imread(tmp_path / "a" / f"{name}.png")
        assert len(np.unique(pixels.reshape(-1, pixels.shape[-1]), axis=0)) > 10
        assert b"<dc:date>" not in (tmp_path / "a" / f"{name}.svg").read_bytes()


def test_scores_show_the_mean_over_seeds_of_each_domain(plan, root):
    path = "runs/tiny/de-en/all/caneft/seed{}/scores/koran.json"
    values = [
        json.loads((root / path.format(seed)).read_text())["domains"]["koran"]["bleu"]["score"] for seed in (1, 2)
    ]
    panels = draw(plan, root)["scores"].axes
    assert [axes.get_title() for axes in panels] == ["it", "law", "koran (unseen)"]
    assert [label.get_text() for label in panels[0].get_yticklabels()] == list(METHODS)
    assert panels[2].texts[list(METHODS).index("caneft")].get_text() == f"{sum(values) / 2:.1f}"


def test_layers_show_the_counts_of_the_neuron_set(plan, root):
    counts = results.neuron_counts(plan, root)
    axes = next(axes for axes in draw(plan, root)["neurons_per_layer"].axes if axes.get_title() == "random")
    heights = [bar.get_height() for bar in axes.patches]
    assert heights == counts.query("variant == 'random'").groupby("layer")["neurons"].mean().tolist()
    assert sum(heights) == pytest.approx(115)


def test_information_marks_the_selected_neurons_and_the_null(plan, root):
    axes = draw(plan, root)["importance_information"].axes[0]
    lines = {line.get_label(): line for line in axes.lines}
    assert len(lines["caneft: 115"].get_xdata()) == 115
    assert len(lines["not selected: 1,037"].get_xdata()) == 1037
    assert lines["null, error rate 0.01"].get_ydata()[0] == 0.0021
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
    assert "20,000 of those not selected are drawn\n5 of importance 0 are not shown" in axes.get_xlabel()
    assert axes.get_ylim()[1] < 2, "a line far above must not press the neurons together"
    assert "response length: 2, above" in [line.get_label() for line in axes.lines]


def test_stability_shows_the_mean_over_splits_at_each_size(plan, root):
    points = json.loads((root / "neurons/tiny/de-en/all/stability.json").read_text())["points"]
    left, right = draw(plan, root)["stability"].axes
    assert left.get_title() == "selected neurons: 115 of 1,152"
    for axes, measure in ((left, "jaccard"), (right, "correlation")):
        lines = [line for line in axes.lines if line.get_linestyle() == "-"]
        for line, name in zip(lines, (measure, f"noise_{measure}"), strict=True):
            assert line.get_xdata().tolist() == [25, 50, 100, 200, 400]
            known = [[value for value in point[name] if value is not None] for point in points]
            assert line.get_ydata() == pytest.approx([sum(values) / len(values) for values in known])
        assert [label.get_text() for label in axes.get_xticklabels()] == ["25", "50", "100", "200", "400"]
        last = sum(points[-1][measure]) / 3
        assert axes.texts[0].get_text() == f"disjoint halves\n{last:.2f}"
    assert left.get_ylim() == (0, 1)


def test_every_block_shows_its_own_stability(tmp_path):
    mixtures = {name: {"de-en": ["it", "law"]} for name in ("all", "other")}
    plan = fake_results.plan(METHODS, mixtures=mixtures)
    fake_results.write(plan, tmp_path)
    sizes = {"all": [25, 50], "other": [100, 200, 400]}
    for mixture, own in sizes.items():
        path = tmp_path / f"neurons/tiny/de-en/{mixture}/stability.json"
        path.write_text(json.dumps(fake_results.stability(np.random.default_rng(0), tuple(own))))
    panels = neuron_figures.stability(plan, results.stability(plan, tmp_path)).findobj(matplotlib.axes.Axes)
    assert [axes.lines[0].get_xdata().tolist() for axes in panels] == [[25, 50]] * 2 + [[100, 200, 400]] * 2


@pytest.mark.parametrize("sizes", [(30,), (25, 50, 100, 200, 400, 800, 1600, 3200, 5000)], ids=len)
def test_stability_labels_keep_apart(plan, root, sizes):
    path = root / "neurons/tiny/de-en/all/stability.json"
    content = fake_results.stability(np.random.default_rng(0), sizes)
    for point in content["points"]:
        point["noise_jaccard"] = point["jaccard"]  # the worst case: no better than noise
    path.write_text(json.dumps(content))
    figure = draw(plan, root)["stability"]
    figure.draw_without_rendering()
    for axes in figure.axes:
        for labels in (axes.texts, [label for label in axes.get_xticklabels() if label.get_text()]):
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
    figure = draw(plan, tmp_path)["seen_unseen"]
    figure.draw_without_rendering()
    right = figure.axes[1]
    boxes = [text.get_window_extent() for text in right.texts if text.get_text()]
    assert len(boxes) == 10
    assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))
    border = right.get_window_extent()
    assert all(border.x0 <= box.x0 and box.x1 <= border.x1 and border.y0 <= box.y0 for box in boxes)


def test_no_text_is_smaller_than_seven_points(plan, root):
    for figure in draw(plan, root).values():
        assert min(text.get_fontsize() for text in figure.findobj(matplotlib.text.Text) if text.get_text()) >= 7


def test_several_blocks_are_titled_parts_of_one_figure(tmp_path):
    mixtures = {"all": {"de-en": ["it", "law"]}, "again": {"de-en": ["it", "law"]}}
    plan = fake_results.plan(METHODS, mixtures=mixtures)
    fake_results.write(plan, tmp_path)
    drawn = draw(plan, tmp_path)
    assert "No interference to show" in texts(drawn.pop("interference"))[0], "no mixture is of one domain"
    for figure in drawn.values():
        assert {"tiny, de-en, all", "tiny, de-en, again"} <= set(texts(figure))


def test_mixtures_of_one_domain_are_in_no_figure(tmp_path):
    mixtures = {"all": {"de-en": ["it", "law"]}, "law": {"de-en": ["law"]}}
    plan = fake_results.plan(METHODS, mixtures=mixtures)
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
    assert len(drawn["importance_information"].axes) == 1 and len(drawn["stability"].axes) == 2
    assert "caneft: 115" in [line.get_label() for line in drawn["importance_information"].axes[0].lines]


def test_without_unseen_domains_or_neurons_the_figures_say_so(tmp_path):
    methods = {name: METHODS[name] for name in ("base", "full")}
    plan = fake_results.plan(methods, unseen=())
    fake_results.write(plan, tmp_path)
    drawn = draw(plan, tmp_path)
    assert "no unseen test domain" in " ".join(texts(drawn["seen_unseen"]))
    for name in ("neurons_per_layer", "importance_information", "stability", "jaccard"):
        assert "No method of this configuration" in " ".join(texts(drawn[name]))
    for name, figure in drawn.items():
        style.save(figure, tmp_path / "out" / name)


def test_every_figure_input_is_needed_and_named_when_missing(plan, root):
    for name in inputs.figure_inputs(plan):
        kept = (root / name).read_bytes()
        (root / name).unlink()
        with pytest.raises(InputError, match=re.escape(name)):
            read(plan, root)
        (root / name).write_bytes(kept)


@pytest.mark.parametrize("suffix", ["npz", "parquet", "json"])
def test_a_broken_selection_file_is_named(plan, root, suffix):
    for path in root.glob(f"neurons/**/*.{suffix}"):
        path.write_bytes(b"no")
    with pytest.raises(InputError, match=rf"\.{suffix}"):
        read(plan, root)


@pytest.mark.parametrize(
    ("change", "message"), [({"points": None}, "unusable value"), ({"points": [{}]}, "no entry 'jaccard'")], ids=str
)
def test_an_unusable_stability_file_is_named(plan, root, change, message):
    path = root / "neurons/tiny/de-en/all/stability.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(InputError, match=rf"stability\.json: has .*{message}"):
        results.stability(plan, root)


def test_the_step_draws_all_figures(plan, root, tmp_path, monkeypatch):
    from workflow.scripts import plot

    config = plan.config.model_dump_json(exclude_none=True)
    out = tmp_path / "figures"
    monkeypatch.setattr(sys, "argv", ["plot", "--config", config, "--results", str(root), "--out", str(out)])
    plot.main()
    assert {path.name for path in out.iterdir()} == {f"{n}.{s}" for n in NAMES for s in ("pdf", "svg", "png")}
