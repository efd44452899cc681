"""Heat maps of interference and of overlap between selected sets, compared with numbers worked out here."""

import json
from itertools import combinations

import fake_results
import matplotlib.colors
import numpy as np
import pandas as pd
import pytest
from matplotlib.patches import Rectangle
from matplotlib.text import Text

from caneft import neurons
from caneft.reporting import heat_maps, inputs, interference, jaccard, listing, measures, results

METHODS = {
    "base": {"method": "base"},
    "full": {"method": "full", "learning_rate": 1e-3},
    "random": {"method": "random", "learning_rate": 1e-2},
    "joint": {"method": "joint", "learning_rate": 1e-2},
    "caneft": {"method": "caneft", "learning_rate": 1e-2},
    "caneft-2": {"method": "caneft", "fraction": 0.02, "learning_rate": 1e-2},
}
MIXTURES = {
    "all": {"de-en": ["it", "law"]},
    "only-it": {"de-en": {"domains": ["it"], "test": ["law", "koran"], "methods": ["base", "full"]}},
    "only-law": {"de-en": {"domains": ["law"], "test": ["it", "koran"], "methods": ["base", "full"]}},
}
ALL = ("tiny", "de-en", "all")


def texts(figure):
    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


def cells(axes):
    """Printed numbers by (row, column)."""
    return {(round(t.get_position()[1]), round(t.get_position()[0])): t.get_text() for t in axes.texts}


def score_of(path, domain):
    return json.loads(path.read_text())["domains"][domain]["bleu"]["score"]


@pytest.fixture
def plan():
    return fake_results.plan(METHODS, seeds=(1, 2), mixtures=MIXTURES)


@pytest.fixture
def root(tmp_path, plan):
    fake_results.write(plan, tmp_path)
    return tmp_path


def draw_interference(plan, root):
    return heat_maps.interference(plan, results.scores(plan, root, inputs.drawn_blocks(plan)))


def test_interference_shows_the_difference_to_base_in_every_cell(plan, root):
    (axes,) = draw_interference(plan, root).axes
    assert axes.get_title() == "full"
    assert [label.get_text() for label in axes.get_yticklabels()] == ["it", "law", "mixture all"]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["it", "law", "koran"]
    mixtures, expected = ["only-it", "only-law", "all"], {}
    for row, mixture in enumerate(mixtures):
        for column, domain in enumerate(["it", "law", "koran"]):
            folder = root / "runs/tiny/de-en" / mixture / "full"
            seeds = [score_of(folder / f"seed{seed}/scores/test.json", domain) for seed in (1, 2)]
            difference = sum(seeds) / 2 - score_of(root / "runs/tiny/de-en/base/scores/test.json", domain)
            expected[row, column] = difference
    printed = {place: float(text.replace("−", "-")) for place, text in cells(axes).items()}
    assert printed == {place: pytest.approx(value, abs=0.0501) for place, value in expected.items()}
    drawn = axes.collections[0].get_array().reshape(3, 3)
    assert {place: drawn[place] for place in expected} == pytest.approx(expected)


def test_interference_draws_what_the_table_prints(plan, root):
    table = interference.interference_table(plan, results.scores(plan, root))
    drawn = draw_interference(plan, root).axes[0].collections[0].get_array().ravel()
    assert sorted(drawn) == pytest.approx(sorted(table["difference_mean"]))


def test_own_domains_are_framed(plan, root):
    (axes,) = draw_interference(plan, root).axes
    frames = {(p.get_y() + 0.5, p.get_x() + 0.5) for p in axes.patches if isinstance(p, Rectangle)}
    assert frames == {(0, 0), (1, 1), (2, 0), (2, 1)}


def test_panels_share_one_scale_that_is_symmetric(tmp_path):
    methods = ["base", "full", "caneft"]
    mixtures = {
        name: {"de-en": entry["de-en"] | {"methods": methods}} for name, entry in MIXTURES.items() if name != "all"
    }
    plan = fake_results.plan(METHODS, mixtures={"all": MIXTURES["all"]} | mixtures)
    score = {"base": 50.0, "full": 90.0, "caneft": 45.0}
    fake_results.write(plan, tmp_path, score=lambda method, variant, *_: score.get(variant, 60.0))
    panels = draw_interference(plan, tmp_path).axes
    assert [axes.get_title() for axes in panels] == ["full", "caneft"]
    for axes in panels:
        assert (axes.collections[0].norm.vmin, axes.collections[0].norm.vmax) == (-40, 40)
    losses = set(cells(panels[1]).values())
    assert losses == {"−5.0"}


ALONE = {"all": MIXTURES["all"], "only-it": {"de-en": {"domains": ["it"], "test": ["law"]}}}


@pytest.mark.parametrize(
    "plan", [fake_results.plan(), fake_results.plan({"full": METHODS["full"]}, mixtures=ALONE)], ids=["all", "no base"]
)
def test_without_single_domains_or_base_there_is_no_interference(plan):
    assert "interference" not in listing.figures(plan) + listing.tables(plan)


def test_with_both_there_is(plan):
    assert "interference" in listing.figures(plan) and "interference" in listing.tables(plan)


def test_losses_and_gains_differ_in_grey_and_deepen_with_size():
    def grey(value):
        red, green, blue = matplotlib.colors.to_rgb(heat_maps.CHANGE((value + 1) / 2))
        return 0.299 * red + 0.587 * green + 0.114 * blue

    steps = np.linspace(0, 1, 20)
    for sign in (-1, 1):
        assert (np.diff([grey(sign * step) for step in steps]) < 0.002).all()
    assert grey(0) > 0.99
    assert all(grey(-step) < grey(step) - 0.1 for step in steps[5:])


# --- overlap of selected sets ----------------------------------------------------------------------------------------


def flat(root, variant, draw=0):
    found = neurons.load(root / f"neurons/tiny/de-en/all/{variant}/draw{draw}.npz")
    return set(found.flat().tolist())


def naive(a, b):
    return len(a & b) / len(a | b)


def test_criteria_of_equal_budget_are_compared(plan, root):
    found = jaccard.sets(plan, root)[ALL]
    assert list(found.criteria) == ["random", "joint", "caneft"], "not the other budget"
    own = {"random": flat(root, "random", 1), "joint": flat(root, "joint"), "caneft": flat(root, "caneft")}
    for a, b in combinations(own, 2):
        assert found.criteria.loc[a, b] == found.criteria.loc[b, a] == pytest.approx(naive(own[a], own[b]))
    assert (found.neurons, found.total) == (115, 1152)


def test_domains_are_compared_by_their_most_informative_neurons(plan, root):
    table = pd.read_parquet(root / "neurons/tiny/de-en/all/information.parquet")
    own = {}
    for domain in ("it", "law"):
        best = sorted(range(len(table)), key=lambda n: (-table[f"mi_{domain}"][n], n))[:115]
        own[domain] = {int(table["layer"][n] * fake_results.WIDTH + table["neuron"][n]) for n in best}
    assert jaccard.sets(plan, root)[ALL].domains.loc["it", "law"] == pytest.approx(naive(own["it"], own["law"]))


def test_draws_are_seeds_of_random_and_halves_of_the_samples(plan, root):
    draws = jaccard.sets(plan, root)[ALL].draws.set_index("kind")
    assert draws.loc["seeds", "variant"] == "random"
    assert draws.loc["seeds", "jaccard"] == pytest.approx(naive(flat(root, "random", 1), flat(root, "random", 2)))
    points = json.loads((root / "neurons/tiny/de-en/all/stability.json").read_text())["points"]
    last = [point for point in points if (point["criterion"], point["scope"]) == ("caneft", "model")][-1]
    assert draws.loc["halves", "jaccard"] == pytest.approx(sum(last["jaccard"]) / 3)
    assert draws.loc["halves", ["variant", "samples"]].tolist() == ["caneft", 400]
    same = [point for point in points if (point["scope"], point["samples"]) == ("model", 400)]
    grey = np.mean([point["noise_jaccard"] for point in same])  # over all criteria, as in the figure of stability
    assert len(same) == 4 and draws.loc["halves", "chance"] == pytest.approx(grey)
    assert draws.loc["seeds", "chance"] == pytest.approx(measures.jaccard_by_chance(115, 115, 1152))


def test_a_mask_alone_makes_sets_alike(plan, root):
    """Two criteria with 300 candidates share as much as random sets of these; among all neurons, chance is lower."""
    for variant, candidates in (("joint", 300), ("caneft", 300), ("random", 1152)):
        for path in (root / f"neurons/tiny/de-en/all/{variant}").glob("*.npz"):
            neurons.save(path, neurons.load(path), {"candidates": candidates})
    by_chance = jaccard.sets(plan, root)[ALL].by_chance
    shared = 115 * 115 / 300
    assert by_chance.loc["joint", "caneft"] == pytest.approx(shared / (230 - shared))
    assert by_chance.loc["random", "caneft"] == pytest.approx(measures.jaccard_by_chance(115, 115, 1152))


@pytest.mark.parametrize(("first", "second", "total"), [(115, 115, 1152), (40, 300, 1000), (5000, 5000, 500_000)])
def test_chance_is_what_random_sets_share(first, second, total):
    rng = np.random.default_rng(0)
    shared = rng.hypergeometric(first, total - first, second, size=20_000)
    simulated = shared / (first + second - shared)
    error = 4 * simulated.std() / np.sqrt(len(shared)) + 1 / total
    assert measures.jaccard_by_chance(first, second, total) == pytest.approx(simulated.mean(), abs=error)


def test_the_figure_shows_the_lower_triangle_with_numbers_and_chance(plan, root):
    found = jaccard.sets(plan, root)
    figure = heat_maps.jaccard(plan, found, jaccard.across(plan, root))
    criteria, domains, draws = figure.findobj(matplotlib.axes.Axes)
    assert [label.get_text() for label in criteria.get_yticklabels()] == ["joint", "caneft"]
    assert [label.get_text() for label in criteria.get_xticklabels()] == ["random", "joint"]
    matrix = found[ALL].criteria
    assert cells(criteria) == {
        (0, 0): f"{matrix.loc['joint', 'random']:.2f}\n(0.05)",
        (1, 0): f"{matrix.loc['caneft', 'random']:.2f}\n(0.05)",
        (1, 1): f"{matrix.loc['caneft', 'joint']:.2f}\n(0.05)",
    }
    assert list(cells(domains)) == [(0, 0)]
    assert any("115 of 1,152" in text for text in texts(figure))
    bars = [line.get_xdata()[0] for line in draws.lines if line.get_marker() == "|"]
    assert bars == found[ALL].draws["chance"].tolist()
    assert [label.get_text() for label in draws.get_yticklabels()] == [
        "random: seeds",
        "caneft: halves\n(400 a domain)",
    ]


def test_models_of_equal_shape_are_compared_and_others_not(tmp_path):
    pretrain = fake_results.plan().config.models["tiny"].model_dump(exclude_unset=True)
    plan = fake_results.plan(METHODS, models={"tiny": pretrain, "twin": pretrain, "wide": pretrain})
    fake_results.write(plan, tmp_path)
    wide = tmp_path / "neurons/wide/de-en/all/caneft/draw0.npz"
    neurons.save(wide, neurons.NeuronSet.from_flat(3, 400, range(115)), {})
    across = jaccard.across(plan, tmp_path)
    twin = set(neurons.load(tmp_path / "neurons/twin/de-en/all/caneft/draw0.npz").flat().tolist())
    assert across[["a", "b"]].values.tolist() == [[ALL, ("twin", "de-en", "all")]]
    assert across["jaccard"].item() == pytest.approx(naive(flat(tmp_path, "caneft"), twin))
    assert across["chance"].item() == pytest.approx(measures.jaccard_by_chance(115, 115, 1152))


@pytest.mark.parametrize("method", ["caneft", "random", "joint"])
def test_one_criterion_alone_has_nothing_to_be_compared_with(tmp_path, method):
    plan = fake_results.plan({"one": {"method": method, "learning_rate": 1e-2}})
    fake_results.write(plan, tmp_path)
    figure = heat_maps.jaccard(plan, jaccard.sets(plan, tmp_path), jaccard.across(plan, tmp_path))
    panels = figure.findobj(matplotlib.axes.Axes)
    assert len(panels) == 1 + (method == "caneft") and "domains" in panels[0].get_title()
    assert any("one: halves" in text and "400" in text for text in texts(figure)) == (method == "caneft")


def test_a_row_for_each_pair_of_models(plan, root):
    across = pd.DataFrame(
        [{"a": ALL, "b": ("twin", "de-en", "all"), "jaccard": 0.25, "chance": 0.05}],
    )
    figure = heat_maps.jaccard(plan, jaccard.sets(plan, root), across)
    axes = figure.findobj(matplotlib.axes.Axes)[-1]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["tiny de-en all / twin de-en all"]
    assert [text.get_text() for text in axes.texts] == ["0.25"]
