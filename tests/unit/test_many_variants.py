"""Figures of a study with many variants: one budget of a method represents its others, and files stay small."""

import fake_results
import matplotlib.image
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from caneft.reporting import figures, neuron_figures, results, style
from caneft.reporting.gallery import every_figure

GRID = [5e-3, 1e-2, 2e-2, 4e-2]
CRITERIA = ["random", "bottom", "importance", "activation", "gradient", "specific", "joint", "caneft"]
MANY = {
    "base": {"method": "base"},
    **{name: {"method": name, "learning_rate": GRID} for name in ("full", "lora", "adapters", *CRITERIA)},
    **{
        f"{name}-{share}": {"method": name, "fraction": share / 100, "learning_rate": GRID}
        for name in ("caneft", "random")
        for share in (2, 5, 20, 30)
    },
    "lora-2": {"method": "lora", "rank": 2, "learning_rate": GRID},
    "lora-4": {"method": "lora", "rank": 4, "learning_rate": GRID},
}
FURTHER = {name for name in MANY if name[-1].isdigit()}


def texts(figure):
    return {text.get_text() for text in figure.findobj(Text)}


def write(plan, folder):
    rng = np.random.default_rng(0)
    fake_results.write(plan, folder, score=lambda *_: float(rng.normal(70, 4)))
    return folder


@pytest.fixture(scope="module")
def plan():
    return fake_results.plan(MANY)


@pytest.fixture(scope="module")
def root(plan, tmp_path_factory):
    return write(plan, tmp_path_factory.mktemp("many"))


@pytest.fixture(scope="module")
def drawn(plan, root):
    return dict(every_figure(plan, root))


@pytest.mark.parametrize("name", ["scores", "seen_unseen", "quality_cost", "neurons_per_layer", "jaccard", "training"])
def test_further_budgets_are_left_to_the_figure_of_budgets(drawn, name):
    shown = texts(drawn[name])
    assert not shown & FURTHER
    assert "caneft" in shown and ("full" in shown) == (name not in ("neurons_per_layer", "jaccard"))
    assert {"caneft (5 budgets)", "random (5 budgets)", "lora (3 budgets)"} <= texts(drawn["budget"])


def test_trials_of_further_budgets_are_not_drawn(plan, root):
    trials = results.trials(plan, root)
    axes = figures.seen_unseen(plan, results.scores(plan, root), trials, {}).axes[0]
    lines = [line for line in axes.lines if line.get_linewidth() == 0.6 and line.get_linestyle() == "-"]
    assert len(lines) == trials["variant"].nunique() - len(FURTHER) == 11


def assert_light(figure, path):
    style.save(figure, path)
    assert path.with_suffix(".png").stat().st_size < 200_000, path
    assert path.with_suffix(".svg").stat().st_size < 500_000, path


def test_the_figure_of_most_points_is_light(drawn, tmp_path):
    """Unless merged, it would have one marker per neuron. The test below covers all figures."""
    assert_light(drawn["importance_information"], tmp_path / "importance_information")


@pytest.mark.slow
def test_files_are_light(tmp_path):
    plan = fake_results.plan(MANY, seeds=(1, 2, 3), seen=("it", "law", "medical", "subtitles"))
    for name, figure in every_figure(plan, write(plan, tmp_path)):
        assert_light(figure, tmp_path / name)


def test_a_palette_keeps_size_resolution_and_colours(tmp_path):
    figure = Figure(figsize=(3, 2))
    axes = figure.subplots()
    axes.pcolormesh(np.linspace(0, 1, 2000).reshape(40, 50), cmap="viridis")
    with style.mpl.rc_context(style.SETTINGS):
        figure.savefig(tmp_path / "before.png")
    style.save(figure, tmp_path / "after")
    before, after = (matplotlib.image.imread(tmp_path / f"{name}.png") for name in ("before", "after"))
    with Image.open(tmp_path / "after.png") as image:
        assert image.mode == "P" and [round(dots) for dots in image.info["dpi"]] == [200, 200]
    assert before.shape[:2] == after.shape[:2] == (400, 600)
    apart = np.abs(before[..., :3] - after[..., :3])
    assert apart.mean() < 0.01 and np.quantile(apart, 0.999) < 0.15


def test_a_method_far_out_is_left_out_of_the_enlarged_panel_and_named_beside(tmp_path):
    methods = {name: {"method": name, "learning_rate": 1e-2} for name in ("full", "lora", *CRITERIA)}
    plan = fake_results.plan({"base": {"method": "base"}} | methods)
    rng = np.random.default_rng(1)

    def score(method, variant, domain, *_):
        return 12.0 if (method, domain) == ("full", "koran") else float(rng.normal(70, 1))

    fake_results.write(plan, tmp_path, score=score)
    scores, trials = results.scores(plan, tmp_path), results.trials(plan, tmp_path)
    left, right = figures.seen_unseen(plan, scores, trials, {}).axes
    assert {text.get_text() for text in left.texts} - {""} == {"base", "full", "enlarged on the right"}
    assert {text.get_text() for text in right.texts} - {""} == {"lora", *CRITERIA}
    assert right.get_ylim()[0] > 60 and right.get_title().endswith("outliers left out")


def test_two_budgets_of_a_criterion_are_one_panel_of_layers(plan, root):
    figure = neuron_figures.neurons_per_layer(plan, results.neuron_counts(plan, root))
    assert [axes.get_title() for axes in figure.axes if axes.get_title()] == CRITERIA
