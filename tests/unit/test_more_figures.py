"""Figures of grids and training, and the looks of variants: drawn values compared with numbers worked out here."""

import itertools
import json

import fake_results
import matplotlib.colors
import numpy as np
import pytest
from matplotlib.text import Text

from caneft.config import Neurons
from caneft.reporting import figures, inputs, neuron_figures, results, style
from tests.messages import refused

GRID = [1e-3, 2e-3, 4e-3]
METHODS = {
    "base": {"method": "base"},
    "full": {"method": "full", "learning_rate": GRID},
    "lora": {"method": "lora", "learning_rate": 1e-2},
    "caneft": {"method": "caneft", "learning_rate": GRID},
    "wide": {"method": "caneft", "learning_rate": GRID},
}
EVERY = {
    "base": {"method": "base"},
    "icl-random": {"method": "icl"},
    "icl-bm25": {"method": "icl", "retrieval": "bm25"},
    "lora-equal": {"method": "lora", "equal_to": "caneft", "learning_rate": GRID},
    "random-layers": {"method": "random", "layers_of": "caneft", "learning_rate": GRID},
    **{name: {"method": name, "learning_rate": GRID} for name in ("full", "lora", "adapters", "caneft-attention")},
    **{f"caneft-{mean}": {"method": f"caneft-{mean}", "learning_rate": GRID} for mean in ("geometric", "harmonic")},
    **{
        name: {"method": name, "learning_rate": GRID}
        for name in ("random", "bottom", "importance", "activation", "gradient", "specific", "joint", "caneft")
    },
}


def seen_unseen(plan, root, intervals=None):
    return figures.seen_unseen(plan, results.scores(plan, root), results.trials(plan, root), intervals or {})


@pytest.fixture
def plan():
    return fake_results.plan(METHODS)


# --- the grid in `seen_unseen` --------------------------------------------------------------------------------------


def test_every_trial_is_a_marker_on_a_line_in_the_order_of_rates(plan, tmp_path):
    reached = {1e-3: (60, 50), 2e-3: (70, 45), 4e-3: (65, 30)}
    fake_results.write(plan, tmp_path, trial=lambda v, rate, domain: float(reached[rate][domain == "koran"]))
    for axes in seen_unseen(plan, tmp_path).axes:
        points = [line for line in axes.lines if line.get_color() == "#000000"]
        line, markers = [found for found in points if len(found.get_xdata()) == 3]
        for drawn in (line, markers):
            assert np.stack(drawn.get_data(), axis=-1).tolist() == [[60, 50], [70, 45], [65, 30]]
        assert line.get_linestyle() == "-" and markers.get_marker() == "s"
        final = next(found for found in points if len(found.get_xdata()) == 1)
        assert final.get_markersize() > markers.get_markersize() and final.get_zorder() > markers.get_zorder()


def test_a_trial_that_diverged_is_not_drawn(plan, tmp_path):
    fake_results.write(plan, tmp_path, dev=lambda v, rate: None if (v, rate) == ("full", 4e-3) else 50.0)
    left = seen_unseen(plan, tmp_path).axes[0]
    assert sorted(len(line.get_xdata()) for line in left.lines if line.get_color() == "#000000") == [1, 2, 2]


def test_trials_far_away_leave_the_enlarged_panel_alone(plan, tmp_path):
    """Trials may be anywhere: the right panel shows only the final runs, the left one all."""

    def score(method, variant, domain, *_):
        return 30.0 if method == "base" else 60.0 + len(variant) + (domain == "koran")

    fake_results.write(plan, tmp_path, score=score, trial=lambda *_: 2.0)
    left, right = seen_unseen(plan, tmp_path).axes
    assert left.get_xlim()[0] < 2 and right.get_xlim()[0] > 60 and right.get_ylim()[0] > 60


def test_both_averages_have_their_intervals(plan, tmp_path):
    """With one unseen domain, the average is that domain."""
    fake_results.write(plan, tmp_path, score=lambda method, variant, *_: 60.0 + len(variant))
    key = ("tiny", "de-en", "all", "bleu", "lora")
    figure = seen_unseen(plan, tmp_path, {(*key, "average_seen"): (61.0, 63.0), (*key, "koran"): (40.0, 45.0)})
    for axes in figure.axes:
        bars = [line for line in axes.lines if line.get_marker() == "None" and line.get_color() == "#0072b2"]
        (across, up) = bars
        assert (list(across.get_xdata()), list(up.get_ydata())) == ([61.0, 63.0], [40.0, 45.0])
        point = next(line for line in axes.lines if line.get_marker() == "D")
        assert {*across.get_ydata()} == {*point.get_ydata()} and {*up.get_xdata()} == {*point.get_xdata()}


def test_nineteen_methods_and_their_grids_keep_their_labels_apart(tmp_path):
    plan = fake_results.plan(EVERY, seeds=(1, 2, 3))
    rng = np.random.default_rng(1)
    fake_results.write(
        plan,
        tmp_path,
        score=lambda method, *_: float(rng.normal(40 if method in ("base", "icl") else 70, 2)),
        trial=lambda *_: float(rng.normal(68, 5)),
    )
    figure = seen_unseen(plan, tmp_path)
    figure.draw_without_rendering()
    for axes, count in zip(figure.axes, (4, 16), strict=True):
        boxes = [text.get_window_extent() for text in axes.texts if text.get_text()]
        assert len(boxes) == count
        assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))
        assert all(figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1 for box in boxes)


# --- training -------------------------------------------------------------------------------------------------------


def write_log(root, variant, seed, losses, dev):
    lines = [{"step": i, "loss": loss} | ({"dev_loss": dev[i]} if i in dev else {}) for i, loss in enumerate(losses)]
    path = root / f"runs/tiny/de-en/all/{variant}/seed{seed}/log.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_training_shows_the_losses_of_every_seed_and_dev_as_markers(tmp_path):
    plan = fake_results.plan(METHODS, seeds=(1, 2))
    fake_results.write(plan, tmp_path)
    rng = np.random.default_rng(0)
    losses = rng.uniform(1, 3, 80)
    write_log(tmp_path, "lora", 1, losses.tolist(), {39: 2.5, 79: 2.25})
    figure = figures.training(plan, results.losses(plan, tmp_path))
    assert [axes.get_title() for axes in figure.axes] == ["full", "lora", "caneft", "wide"]
    axes = figure.axes[1]
    curves = [line for line in axes.lines if line.get_linestyle() == "-"]
    markers = [line for line in axes.lines if line.get_marker() == "o"]
    assert len(curves) == len(markers) == 2
    assert curves[0].get_linewidth() > curves[1].get_linewidth() and curves[1].get_alpha() < 0.5
    # windows are a fortieth of 80 steps: means of two
    assert curves[0].get_ydata()[0] == losses[0]
    assert curves[0].get_ydata()[1:] == pytest.approx((losses[1:] + losses[:-1]) / 2)
    assert markers[0].get_xdata().tolist() == [39, 79] and markers[0].get_ydata().tolist() == [2.5, 2.25]
    epochs = [line.get_xdata()[0] for line in axes.lines if line.get_zorder() == 1]
    assert epochs == [40], "two epochs of 80 steps"
    assert "loss, nats per token" in [text.get_text() for text in figure.findobj(Text)]


def test_a_long_run_is_drawn_with_fewer_points_and_a_first_step_hides_nothing(plan, tmp_path):
    fake_results.write(plan, tmp_path)
    write_log(tmp_path, "lora", 1, [1000.0] * 100 + [1.0] * 3900, {3999: 1.0})
    axes = figures.training(plan, results.losses(plan, tmp_path)).axes[1]
    assert 60 <= len(axes.lines[0].get_xdata()) <= 120
    assert axes.get_ylim()[1] < 10


def test_more_variants_than_can_be_read_are_said_to_be_left_out(tmp_path):
    methods = {f"v{i}": {"method": "lora", "learning_rate": 1e-2} for i in range(26)}
    plan = fake_results.plan(methods)
    fake_results.write(plan, tmp_path)
    figure = figures.training(plan, results.losses(plan, tmp_path))
    assert sum(axes.axison for axes in figure.axes) == 24
    assert any("2 more" in text.get_text() for text in figure.findobj(Text))


@pytest.mark.parametrize(("text", "shown"), [("{", "column 2"), ("3", "'int'"), ('{"step": 1}', "'loss'")])
def test_an_unusable_log_is_named(plan, tmp_path, text, shown):
    fake_results.write(plan, tmp_path)
    path = tmp_path / "runs/tiny/de-en/all/lora/seed1/log.jsonl"
    path.write_text(text)
    with refused(f"{path}:", shown):
        results.losses(plan, tmp_path)


# --- looks ----------------------------------------------------------------------------------------------------------


def test_every_method_of_the_configuration_has_a_look():
    neurons = Neurons.model_fields["method"].annotation.__args__
    assert set(neurons) | {"base", "icl", "full", "lora", "adapters"} == set(style.LOOKS)


def test_no_two_variants_look_alike():
    plan = fake_results.plan(EVERY)
    looks = {variant: style.look(plan, variant) for variant in EVERY}
    assert len(set(looks.values())) == len(EVERY)
    assert looks["icl-random"].colour == looks["icl-bm25"].colour and looks["icl-bm25"].hollow
    six = fake_results.plan({f"v{i}": {"method": "lora", "learning_rate": 1e-2} for i in range(6)})
    assert len({style.look(six, f"v{i}") for i in range(6)}) == 6


def test_methods_differ_in_more_than_hue():
    """Methods with one marker must differ in lightness, which every reader sees; those of one colour, in the marker."""
    for (_, (one, a)), (_, (other, b)) in itertools.combinations(style.LOOKS.items(), 2):
        assert one != other or a != b
        if a == b:
            light = [matplotlib.colors.rgb_to_hsv(matplotlib.colors.to_rgb(colour))[2] for colour in (one, other)]
            assert abs(light[0] - light[1]) > 0.2


def test_bars_and_lines_of_a_second_variant_are_paler():
    plan = fake_results.plan(METHODS)
    first, second = (matplotlib.colors.to_rgb(style.look(plan, name).fill) for name in ("caneft", "wide"))
    assert all(a <= b for a, b in zip(first, second, strict=True)) and first != second


def test_figures_of_neurons_leave_heads_out(tmp_path):
    plan = fake_results.plan(EVERY)
    fake_results.write(plan, tmp_path)
    titles = [
        axes.get_title() for axes in neuron_figures.neurons_per_layer(plan, results.neuron_counts(plan, tmp_path)).axes
    ]
    assert "caneft-attention" not in titles and "random-layers" in titles
    only = fake_results.plan({"heads": {"method": "caneft-attention", "learning_rate": 1e-3}})
    assert results.neuron_counts(only, tmp_path).empty and results.information(only, tmp_path) == {}
    assert not [name for name in inputs.figure_inputs(only) if "neurons/" in name or "heads/tiny/de-en/all/inf" in name]
