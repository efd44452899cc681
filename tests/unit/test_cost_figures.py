"""Figures of quality against parameters, time and memory: drawn values compared with numbers worked out here."""

import itertools
import json

import fake_results
import numpy as np
import pytest

from caneft.reporting import cost_figures, results

METHODS = {
    "base": {"method": "base"},
    "full": {"method": "full", "learning_rate": 1e-3},
    "lora": {"method": "lora", "learning_rate": 1e-2},
    "lora-2": {"method": "lora", "rank": 2, "learning_rate": 1e-2},
    "caneft-5": {"method": "caneft", "fraction": 0.05, "learning_rate": 1e-2},
    "caneft": {"method": "caneft", "learning_rate": 1e-2},
    "caneft-30": {"method": "caneft", "fraction": 0.3, "learning_rate": 1e-2},
    "joint": {"method": "joint", "learning_rate": 1e-2},
}
TRAINABLE = {
    "full": 560_000,
    "lora": 69_120,
    "lora-2": 8_640,
    "caneft-5": 16_560,
    "caneft": 33_120,
    "caneft-30": 99_360,
    "joint": 33_120,
}


def change(path, **entries):
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | entries))


@pytest.fixture
def plan():
    return fake_results.plan(METHODS, seeds=(1, 2, 3))


@pytest.fixture
def root(tmp_path, plan):
    fake_results.write(plan, tmp_path)
    for path in tmp_path.glob("runs/tiny/de-en/all/*/seed*/record.json"):
        change(path, parameters={"trainable": TRAINABLE[path.parts[-3]], "total": 560_000})
    return tmp_path


def by_hand(root, variant, domains):
    """Average over domains for each seed."""
    found = []
    for folder in sorted((root / "runs/tiny/de-en/all" / variant).glob("seed*")):
        scores = [json.loads(path.read_text())["domains"] for path in (folder / "scores").glob("*.json")]
        found.append(np.mean([entry[d]["bleu"]["score"] for entry in scores for d in entry if d in domains]))
    return np.array(found)


def lines_of(axes):
    """Drawn lines by label."""
    return {line.get_label(): line for line in axes.lines if not line.get_label().startswith("_")}


def draw_budget(plan, root):
    return cost_figures.budget(plan, results.scores(plan, root), results.records(plan, root))


def test_a_line_joins_the_budgets_of_one_method_in_the_order_of_parameters(plan, root):
    for axes, domains in zip(draw_budget(plan, root).axes, (["it", "law"], ["koran"]), strict=True):
        line = lines_of(axes)["caneft-5 (3 budgets)"]
        assert line.get_linestyle() == "-"
        assert line.get_xdata().tolist() == [16_560, 33_120, 99_360]
        order = ["caneft-5", "caneft", "caneft-30"]
        assert line.get_ydata() == pytest.approx([by_hand(root, name, domains).mean() for name in order])
        assert axes.get_xscale() == "log"
        assert lines_of(axes)["lora (2 budgets)"].get_xdata().tolist() == [8_640, 69_120]


def test_methods_of_one_budget_are_points_and_base_is_dashed(plan, root):
    seen = draw_budget(plan, root).axes[0]
    for name in ("full", "joint"):
        line = lines_of(seen)[name]
        assert (line.get_linestyle(), line.get_xdata().tolist()) == ("None", [TRAINABLE[name]])
        assert line.get_ydata() == pytest.approx([by_hand(root, name, ["it", "law"]).mean()])
    entries = json.loads((root / "runs/tiny/de-en/base/scores/test.json").read_text())["domains"]
    base = [entries[domain]["bleu"]["score"] for domain in ("it", "law")]
    drawn = lines_of(seen)["base"]
    assert drawn.get_linestyle() != "-" and drawn.get_ydata() == pytest.approx([np.mean(base)] * 2)


def test_bars_are_deviations_over_seeds(plan, root):
    axes = draw_budget(plan, root).axes[1]
    bars = {}
    for container in axes.containers:
        for (x, low), (_, high) in container.lines[2][0].get_segments():
            bars[round(x)] = (high - low) / 2
    assert bars[16_560] == pytest.approx(by_hand(root, "caneft-5", ["koran"]).std(ddof=1))
    assert bars[560_000] == pytest.approx(by_hand(root, "full", ["koran"]).std(ddof=1))


def test_one_seed_has_no_bars_and_without_unseen_domains_there_is_one_panel(tmp_path):
    plan = fake_results.plan(METHODS, unseen=())
    fake_results.write(plan, tmp_path)
    (axes,) = draw_budget(plan, tmp_path).axes
    assert "unseen" not in axes.get_title() and not axes.containers


@pytest.mark.parametrize(
    ("value", "text"), [(800, "800"), (1000, "1k"), (33_120, "33.1k"), (2e6, "2M"), (7e9, "7G"), (1e13, "10T")]
)
def test_parameters_are_short_on_the_axis(value, text):
    assert cost_figures._short(value) == text


@pytest.mark.parametrize("highest", [40_000, 600_000, 7_000_000_000])
def test_every_range_of_parameters_has_some_ticks_that_keep_apart(plan, root, highest):
    change(root / "runs/tiny/de-en/all/full/seed1/record.json", parameters={"trainable": 3 * highest, "total": highest})
    figure = draw_budget(plan, root)
    figure.draw_without_rendering()
    axes = figure.axes[0]
    low, high = axes.get_xlim()
    ticks = [label for label, at in zip(axes.get_xticklabels(), axes.get_xticks(), strict=True) if low <= at <= high]
    boxes = [label.get_window_extent() for label in ticks]
    assert 2 <= len(boxes) <= 10
    assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))


# --- quality against cost --------------------------------------------------------------------------------------------


def draw_cost(plan, root, intervals=None):
    scores, costs = results.scores(plan, root), results.costs(plan, root, stage="tuning")
    return cost_figures.quality_cost(plan, scores, costs, intervals or {})


def bars(axes):
    """Lengths of the bars from the top; each begins at 0."""
    assert all(bar.get_x() == 0 for bar in axes.patches) and axes.get_xlim()[0] == 0
    return [bar.get_width() for bar in axes.patches]


def cost_of(root, variant, name):
    return [
        json.loads((root / f"runs/tiny/de-en/all/{variant}/seed{seed}/cost.json").read_text())[name]
        for seed in (1, 2, 3)
    ]


SHOWN = ["full", "lora", "caneft-5", "caneft", "joint"]


def test_quality_stands_beside_mean_processor_time_and_highest_memory(plan, root):
    ends = {("tiny", "de-en", "all", "bleu", name, "average_seen"): (50.0, 60.0 + i) for i, name in enumerate(SHOWN)}
    quality, time, memory = draw_cost(plan, root, ends).axes
    dots = [line for line in quality.lines if line.get_marker() != "None"]
    assert [dot.get_xdata()[0] for dot in dots] == pytest.approx(
        [by_hand(root, name, ["it", "law"]).mean() for name in SHOWN]
    )
    assert [list(line.get_xdata()) for line in quality.lines if line.get_marker() == "None"] == [
        [50.0, 60.0 + i] for i in range(len(SHOWN))
    ]
    assert [label.get_text() for label in quality.get_yticklabels()] == SHOWN
    assert bars(time) == pytest.approx([np.mean(cost_of(root, name, "cpu_seconds")) for name in SHOWN])
    assert bars(memory) == [max(cost_of(root, name, "peak_memory_mb")) for name in SHOWN]
    assert "processor" in time.get_xlabel() and "GPU" not in memory.get_xlabel() and "MB" in memory.get_xlabel()


def test_memory_is_that_of_the_gpu_where_there_is_one(plan, root):
    for path in root.glob("runs/tiny/de-en/all/*/seed*/cost.json"):
        change(path, cuda_peak_memory_mb=5000.0 + int(path.parent.name[-1]))
    _, time, memory = draw_cost(plan, root).axes
    assert bars(memory) == [5003] * len(SHOWN)
    assert bars(time) == pytest.approx([np.mean(cost_of(root, name, "wall_seconds")) for name in SHOWN])
    assert "GPU" in memory.get_xlabel() and "wall" in time.get_xlabel()


def test_labels_of_many_methods_keep_apart(tmp_path):
    kinds = ["random", "bottom", "importance", "activation", "gradient", "specific", "joint", "caneft", "adapters"]
    methods = {name: {"method": name, "learning_rate": 1e-2} for name in [*kinds, "full", "lora"]}
    plan = fake_results.plan({"base": METHODS["base"]} | methods)
    rng = np.random.default_rng(0)
    fake_results.write(plan, tmp_path, score=lambda *_: float(rng.normal(70, 3)))
    figure = draw_cost(plan, tmp_path)
    figure.draw_without_rendering()
    for labels in (figure.axes[0].get_yticklabels(), *(axes.texts for axes in figure.axes[1:])):
        boxes = [text.get_window_extent() for text in labels]
        assert len(boxes) == 11
        assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))
        assert all(box.x1 <= figure.bbox.x1 for box in boxes)
