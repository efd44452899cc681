"""Selection compared with naive loops, and the witness program with the package."""

import math
import statistics
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pytest import approx

from caneft.config.methods import MASKED
from caneft.neurons import HEAD, NEURON, NeuronSet, save
from caneft.plan.settings import SelectionSettings
from caneft.selection import information
from caneft.selection.criteria import CRITERIA, active, budget, choose, halves, select, task_relevant
from tests.messages import refused

WITNESS = Path(__file__).parents[1] / "witness" / "select_neurons.py"
DOMAINS = ("it", "koran", "law")


def make_table(seed=0, layers=2, width=10, levels=8):
    """A table with many ties: each column has few different values, and all sums of them are exact."""
    rng = np.random.default_rng(seed)
    n = layers * width
    columns = {"layer": np.repeat(np.arange(layers), width), "neuron": np.tile(np.arange(width), layers)}
    names = [f"{name}_{d}" for name in ("importance", "activation", "gradient", "positive", "mi") for d in DOMAINS]
    columns |= {name: rng.integers(0, levels, n) / levels for name in [*names, "consensus", "joint"]}
    return pd.DataFrame(columns)


def naive_entropy(row):
    total = sum(row[f"positive_{d}"] for d in DOMAINS)
    shares = [row[f"positive_{d}"] / total if total else 1 / 3 for d in DOMAINS]
    return -sum(p * math.log(p) for p in shares if p)


def informations(row):
    return [float(row[f"mi_{d}"]) for d in DOMAINS]


NAIVE = {
    "caneft": lambda row: row["consensus"],
    "caneft-geometric": lambda row: statistics.geometric_mean(informations(row)) if all(informations(row)) else 0,
    "caneft-harmonic": lambda row: statistics.harmonic_mean(informations(row)),
    "joint": lambda row: row["joint"],
    "bottom": lambda row: -row["consensus"],
    "importance": lambda row: sum(row[f"importance_{d}"] for d in DOMAINS),
    "activation": lambda row: sum(row[f"activation_{d}"] for d in DOMAINS),
    "gradient": lambda row: sum(row[f"gradient_{d}"] for d in DOMAINS),
    "specific": lambda row: -naive_entropy(row),
    "caneft-attention": lambda row: row["consensus"],
}


def unit_of(criterion):
    """The unit that a table must have for this criterion."""
    return HEAD if criterion == "caneft-attention" else NEURON


@pytest.mark.parametrize("criterion", sorted(NAIVE))
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), neurons=st.integers(1, 8))
def test_selection_equals_a_naive_ranking(criterion, seed, neurons):
    table = make_table(seed)
    relevant = np.random.default_rng(seed).random(20) < 0.8
    if relevant.sum() < neurons:
        relevant[:] = True
    masked = CRITERIA[criterion].uses_task_relevant
    rows = [(-round(NAIVE[criterion](row), 9), n) for n, row in table.iterrows() if relevant[n] or not masked]
    expected = sorted(n for _, n in sorted(rows)[:neurons])
    ours = select(table, criterion, neurons, relevant, unit=unit_of(criterion))
    assert ours.neurons.unit == unit_of(criterion)
    assert ours.neurons.flat().tolist() == expected
    assert ours.candidates == len(rows)
    assert ours.gamma == approx(min(table["consensus"][n] for n in expected), abs=1e-12)


def test_the_mask_limits_the_information_criteria():
    masked = {"caneft", "caneft-geometric", "caneft-harmonic", "joint", "bottom"}
    assert {name for name, rule in CRITERIA.items() if rule.uses_task_relevant} == masked
    assert masked == MASKED, "the configuration says the same"
    assert set(CRITERIA) == {*NAIVE, "random"}
    assert all(rule.description for rule in CRITERIA.values())


def test_differences_in_the_last_bits_are_ties():
    table = make_table()
    table["consensus"] = 0.25 + np.arange(20) * 1e-16
    assert select(table, "caneft", 3).neurons.flat().tolist() == [0, 1, 2]
    assert select(table, "bottom", 3).neurons.flat().tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("criterion", "order"),
    [
        ("caneft-geometric", [2, 0, 1]),  # 4, 6, 2 and 0 nats
        ("caneft-harmonic", [0, 2, 1]),  # 4, 3 / (1 + 1/9 + 1/24) = 2.6, 12 / 7 and 0 nats
    ],
)
def test_a_mean_over_domains_by_hand(criterion, order):
    """One large value raises the geometric mean more than the harmonic one; with a 0 both are 0."""
    table = make_table(layers=1, width=4)
    table[[f"mi_{d}" for d in DOMAINS]] = [[4, 4, 4], [1, 2, 4], [1, 9, 24], [0, 50, 50]]
    table["consensus"] = [4, 1, 1, 0]
    for count in (1, 2, 3):
        assert set(select(table, criterion, count).neurons.flat()) == set(order[:count])
    assert select(table, criterion, 2).gamma == 1, "gamma is the minimum over domains whatever the score"
    assert CRITERIA[criterion].score(table, None)[3] == 0


@given(seed=st.integers(0, 1000), share=st.integers(1, 100).map(lambda percent: percent / 100))
def test_active_is_lapes_filter(seed, share):
    """LAPE's identify.py keeps neurons with one of the n probabilities above the k-th smallest, k = round(0.95 n)."""
    table = make_table(seed)
    rows = table[[f"positive_{d}" for d in DOMAINS]].to_numpy().tolist()
    every = sorted(value for row in rows for value in row)
    rank = round((1 - Decimal(str(share))) * len(every))
    expected = [rank == 0 or any(value > every[rank - 1] for value in row) for row in rows]
    assert active(table, share).tolist() == expected


def test_specific_selects_among_the_active_neurons_where_it_is_asked_to():
    """Neuron 19 responds to one domain only, but rarely; 3 and 7 respond often, and 7 mostly to one domain."""
    table = make_table()
    table[[f"positive_{d}" for d in DOMAINS]] = 0.1
    table.loc[19, [f"positive_{d}" for d in DOMAINS]] = [0.2, 0, 0]
    table.loc[3, [f"positive_{d}" for d in DOMAINS]] = [0.9, 0.9, 0.9]
    table.loc[7, [f"positive_{d}" for d in DOMAINS]] = [0.9, 0.1, 0.1]
    asked = settings_of(criterion="specific", fraction=0.05)
    assert choose(table, about(), asked, 0)[0].neurons.flat().tolist() == [19]
    filtered = asked.model_copy(update={"active_share": 0.07})  # four of 60 probabilities are 0.9; the 56th is 0.2
    chosen, said = choose(table, about(), filtered, 0)
    assert chosen.neurons.flat().tolist() == [7] and said["candidates"] == 2
    assert said["settings"]["active_share"] == 0.07 and "active_share" not in asked.model_dump()
    with refused("specific", 3, 2, 20, "active_share"):
        choose(table, about(), filtered.model_copy(update={"fraction": 0.15}), 0)
    with refused("active_share", 0):
        active(table, 0)


def test_random_draws_among_the_neurons_of_all_named_halves():
    """In two layers of five neurons, the high half of a layer is its first two by rank; ties are in order."""
    table = make_table(layers=2, width=5)
    table["consensus"] = [5, 4, 3, 2, 1, 7, 7, 7, 7, 7]
    for domain in DOMAINS:
        table[f"importance_{domain}"] = [1, 9, 1, 9, 1, 0, 0, 3, 0, 4]
    expected = {
        ("high-information",): [0, 1, 5, 6],
        ("low-information",): [2, 3, 4, 7, 8, 9],
        ("high-importance",): [1, 3, 7, 9],
        ("early-layers",): [0, 1, 2, 3, 4],
        ("low-information", "high-importance"): [3, 7, 9],
        ("low-information", "high-importance", "late-layers"): [7, 9],
    }
    for names, indices in expected.items():
        assert np.flatnonzero(halves(table, names)).tolist() == indices
        asked = settings_of(criterion="random", fraction=len(indices) / 10, among=list(names))
        chosen, said = choose(table, about(), asked, draw=3)
        assert chosen.neurons.flat().tolist() == indices and said["candidates"] == len(indices)
    with refused("random", 3, 2, 10, "among"):
        choose(table, about(), asked.model_copy(update={"fraction": 0.3}), 0)


def test_of_three_layers_the_middle_one_is_late():
    late = halves(make_table(layers=3, width=2), ["late-layers"])
    assert late.tolist() == [False, False, True, True, True, True]


def test_a_random_draw_is_its_seeds():
    table = make_table(layers=5, width=40)
    draws = [select(table, "random", 50, seed=seed).neurons for seed in range(200)]
    assert select(table, "random", 50, seed=3).neurons == draws[3]
    assert draws[0] != draws[1]
    frequency = np.bincount(np.concatenate([draw.flat() for draw in draws]), minlength=200) / 200
    assert frequency.mean() == 0.25
    assert (abs(frequency - 0.25) < 0.17).all()  # 5.5 standard deviations: every neuron has a chance
    assert select(table, "caneft", 9, seed=1).neurons == select(table, "caneft", 9, seed=2).neurons


def test_candidates_are_counted_by_layer():
    """Of ten neurons per layer, three in layer 0 and six in layer 1 are task-relevant; without a mask, all count."""
    relevant = np.arange(20) % 10 < np.repeat([3, 6], 10)
    assert select(make_table(), "caneft", 2, relevant).candidates_per_layer == [3, 6]
    assert select(make_table(), "caneft", 2).candidates_per_layer == [10, 10]


def test_too_few_candidates_is_an_error_that_counts_them():
    relevant = np.arange(20) < 4
    with refused("caneft", 5, 4, 20, "selection.task_relevant"):
        select(make_table(), "caneft", 5, relevant)
    assert select(make_table(), "importance", 5, relevant).candidates == 20


def test_a_score_that_is_not_a_number_is_refused():
    table = make_table()
    table.loc[3, "activation_it"] = np.nan
    with refused("activation", 1):
        select(table, "activation", 5)


@pytest.mark.parametrize("corrupt", [lambda t: t.iloc[:-1], lambda t: t.iloc[::-1], lambda t: t.iloc[:0]])
def test_a_table_that_is_no_grid_is_refused(corrupt):
    table = corrupt(make_table())
    with refused(len(table)):
        select(table, "caneft", 1)


@given(seed=st.integers(0, 1000), q=st.integers(1, 100).map(lambda percent: percent / 100))
def test_task_relevant_equals_the_definition(seed, q):
    table = make_table(seed, width=15)
    rank = math.ceil(Decimal(str(q)) * 30)
    expected = np.ones(30, bool)
    for d in DOMAINS:
        values = table[f"importance_{d}"].tolist()
        threshold = sorted(values, reverse=True)[rank - 1]
        expected &= [value >= threshold for value in values]
    assert task_relevant(table, q).tolist() == expected.tolist()


@given(seed=st.integers(0, 1000), q=st.integers(1, 100).map(lambda percent: percent / 100))
def test_task_relevant_within_layers_is_the_mask_of_each_layer_alone(seed, q):
    table = make_table(seed, layers=3, width=10)
    alone = [task_relevant(part.assign(layer=0), q) for _, part in table.groupby("layer")]
    assert task_relevant(table, q, "layer").tolist() == np.concatenate(alone).tolist()


def test_a_layer_of_larger_scale_fills_the_mask_over_all_layers_alone():
    """The second of three layers of ten neurons has a hundred times the importance. Half of 30 neurons are 15."""
    table = make_table(layers=3, width=10)
    for d in DOMAINS:
        table[f"importance_{d}"] = [[1, 100, 1.001][n // 10] * (1 + n % 10) for n in range(30)]
    within = [[n >= 5 for n in range(10)]] * 3
    assert task_relevant(table, 0.5, "layer").reshape(3, 10).tolist() == within
    assert task_relevant(table, 0.5).reshape(3, 10).sum(axis=1).tolist() == [2, 10, 3]
    asked = {"task_relevant": 0.5, "task_relevant_scope": "layer"}
    chosen, said = choose(table, about(), settings_of(fraction=0.5, **asked), 0)
    assert said["candidates"] == 15 and chosen.neurons.per_layer().tolist() == [5, 5, 5]
    with refused("task_relevant", 0):
        task_relevant(table, 0, "layer")


def test_a_gamma_is_counted_among_those_of_its_own_scope():
    table = make_table(layers=3, width=10)
    for d in DOMAINS:
        table[f"importance_{d}"] = [[1, 100, 1.001][n // 10] * (1 + n % 10) for n in range(30)]
    table["consensus"] = [0.5] * 10 + [0.1] * 20  # only the first layer reaches it
    masks = {"task_relevant": None, "budget_task_relevant": 0.5}
    counted = {
        scope: choose(table, about(), settings_of(gamma=0.3, budget_task_relevant_scope=scope, **masks), 0)[1][
            "neurons"
        ]
        for scope in ("model", "layer")
    }
    assert counted == {"model": 2, "layer": 5}


def test_a_share_is_meant_as_written():
    table = make_table(width=15, levels=10**9)  # no ties; as a float, 0.1 * 30 exceeds 3
    for d in DOMAINS:
        table[f"importance_{d}"] = np.arange(30)
    assert task_relevant(table, 0.1).sum() == 3


@pytest.mark.parametrize("q", [0, -0.1, 1.5])
def test_a_share_outside_its_range_is_refused(q):
    with refused("task_relevant", q):
        task_relevant(make_table(), q)
    with refused("fraction", q):
        budget(make_table(), fraction=q)


@pytest.mark.parametrize(("fraction", "neurons"), [(0.1, 2), (0.001, 1), (0.33, 7), (1, 20)])
def test_a_fraction_is_of_all_neurons(fraction, neurons):
    assert budget(make_table(), fraction=fraction, relevant=np.arange(20) < 5) == neurons


@given(seed=st.integers(0, 1000), gamma=st.sampled_from([0, 0.125, 0.2, 0.5]))
def test_gamma_admits_who_reaches_it(seed, gamma):
    table, relevant = make_table(seed), np.arange(20) % 2 == 0
    values = table["consensus"].tolist()
    if any(values[n] >= gamma for n in range(0, 20, 2)):
        assert budget(table, gamma=gamma, relevant=relevant) == sum(values[n] >= gamma for n in range(0, 20, 2))
    if any(value >= gamma for value in values):
        assert budget(table, gamma=gamma) == sum(value >= gamma for value in values)


def test_the_gamma_of_a_selection_admits_it_again():
    table = make_table(levels=10**9)
    chosen = select(table, "caneft", 7)
    assert budget(table, gamma=chosen.gamma) == 7


@pytest.mark.parametrize(
    "arguments",
    [{}, {"fraction": 0.1, "gamma": 0.1}, {"gamma": 0, "parameters": 9}, {"fraction": 0.1, "parameters": 9}],
)
def test_a_budget_is_one_thing(arguments):
    with refused("fraction", "gamma", "parameters"):
        budget(make_table(), **arguments)


def test_a_gamma_that_nobody_reaches_is_refused():
    with refused("gamma", 2, make_table()["consensus"].max()):
        budget(make_table(), gamma=2)


@pytest.mark.parametrize(("parameters", "neurons"), [(287, None), (288, 1), (575, 1), (576, 2), (2880, 10)])
def test_parameters_buy_whole_neurons(parameters, neurons):
    if neurons is None:
        with refused("parameters", 287, 288):
            budget(make_table(), parameters=parameters, unit_parameters=288)
    else:
        assert budget(make_table(), parameters=parameters, unit_parameters=288) == neurons


def test_parameters_without_the_weights_of_one_are_refused():
    with refused("parameters", "fraction"):
        budget(make_table(), parameters=1000)


@pytest.mark.parametrize("criterion", sorted(CRITERIA))
@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 1000), neurons=st.integers(1, 9), per_layer=st.integers(1, 4))
def test_a_full_layer_is_passed_over(criterion, seed, neurons, per_layer):
    table, unit = make_table(seed, layers=4, width=5), unit_of(criterion)
    relevant = np.random.default_rng(seed).random(20) < 0.8
    ranking = [
        select(table, criterion, n, relevant, seed, unit=unit).neurons.flat().tolist()
        for n in range(1, (relevant.sum() if CRITERIA[criterion].uses_task_relevant else 20) + 1)
    ]
    order = [ranking[0][0]] + [
        (set(more) - set(fewer)).pop() for fewer, more in zip(ranking, ranking[1:], strict=False)
    ]
    expected, taken = [], [0] * 4
    for n in order:  # the best first
        if taken[n // 5] < per_layer and len(expected) < neurons:
            expected.append(n)
            taken[n // 5] += 1
    if len(expected) < neurons:
        limit = [per_layer, "selection.per_layer"] if len(expected) < len(order) else []
        with refused(criterion, neurons, len(expected), *limit):
            select(table, criterion, neurons, relevant, seed, per_layer, unit)
    else:
        chosen = select(table, criterion, neurons, relevant, seed, per_layer, unit)
        assert chosen.neurons.flat().tolist() == sorted(expected)
        assert chosen.gamma == min(table["consensus"][n] for n in expected)


def test_a_limit_per_layer_that_nothing_reaches_changes_nothing():
    table = make_table()
    for criterion in CRITERIA:
        unit = unit_of(criterion)
        limited = select(table, criterion, 12, per_layer=10, unit=unit)
        assert limited.neurons == select(table, criterion, 12, unit=unit).neurons


def test_gamma_admits_no_more_of_a_layer_than_may_be_taken():
    table = make_table(layers=3, width=10)
    table["consensus"] = np.repeat([0.5, 0.1, 0.5], 10)
    table.loc[10:12, "consensus"] = 0.5  # 10, 3 and 10 neurons reach 0.3
    assert budget(table, gamma=0.3) == 23
    assert budget(table, gamma=0.3, per_layer=4) == 4 + 3 + 4
    assert budget(table, gamma=0.3, per_layer=4, relevant=np.arange(30) < 12) == 4 + 2
    chosen = select(table, "caneft", budget(table, gamma=0.3, per_layer=4), per_layer=4)
    assert chosen.gamma == 0.5 and chosen.neurons.per_layer().tolist() == [4, 3, 4]
    assert choose(table, about(), settings_of(gamma=0.3, per_layer=4), 0)[0].neurons == chosen.neurons


def about(quantile=0.0, **said):
    """What `information.json` says, as far as selection uses it."""
    return {"null": {"quantile": quantile}} | said


def settings_of(**changes):
    plain = {
        "criterion": "caneft",
        "fraction": None,
        "gamma": None,
        "task_relevant": None,
        "budget_task_relevant": None,
    }
    return SelectionSettings(**plain | changes)


def test_the_description_counts_what_the_set_stands_for():
    table = make_table()
    chosen, said = choose(table, about(hidden_size=96), settings_of(parameters=2000, per_layer=3), 0)
    assert said["neurons"] == len(chosen.neurons) == 6  # 2000 // 288
    assert said["parameters"] == 6 * 3 * 96
    assert said["unit"] == chosen.neurons.unit == "neuron"
    assert said["per_layer"] == [3, 3] and said["fraction"] == 0.3
    assert said["gamma"] == table["consensus"][chosen.neurons.flat()].min()
    assert said["settings"] == settings_of(parameters=2000, per_layer=3).model_dump()
    _, unknown = choose(table, about(), settings_of(fraction=0.3), 0)
    assert (unknown["neurons"], unknown["parameters"]) == (6, None)


HEADS = about(0.5, unit="head", hidden_size=96, unit_parameters=1000)


def test_the_weights_of_one_are_those_that_the_table_says():
    asked = settings_of(criterion="caneft-attention", parameters=3999)
    chosen, said = choose(make_table(), HEADS, asked, 0)
    assert chosen.neurons == select(make_table(), "caneft-attention", 3, unit=HEAD).neurons
    assert (said["neurons"], said["parameters"], said["unit"]) == (3, 3000, "head")
    other = about(hidden_size=96, unit_parameters=500)  # a neuron's weights; by the hidden size they would be 288
    assert choose(make_table(), other, settings_of(parameters=3999), 0)[1]["parameters"] == 3500
    with refused("parameters", "fraction"):
        choose(make_table(), {**HEADS, "unit_parameters": None}, asked, 0)  # for a head it is not 3 * 96


def test_attention_heads_are_chosen_from_all_by_their_consensus():
    """Masks for neurons do not limit heads, neither in the choice nor in the count for a gamma."""
    table = make_table(layers=3, width=4)
    masks = {"task_relevant": 0.2, "budget_task_relevant": 0.2}
    asked = settings_of(criterion="caneft-attention", gamma="null", **masks)
    chosen, said = choose(table, HEADS, asked, 0)
    assert 0 < task_relevant(table, 0.2).sum() + 2 < len(chosen.neurons) < 12
    assert chosen.neurons.flat().tolist() == [n for n in range(12) if table["consensus"][n] >= 0.5]
    assert chosen.neurons.unit == "head" and said["candidates"] == 12


def test_a_fraction_of_few_heads_is_one_head_at_least():
    table = make_table(layers=3, width=4, levels=10**9)
    chosen, said = choose(table, HEADS, settings_of(criterion="caneft-attention", fraction=0.01), 0)
    assert chosen.neurons.flat().tolist() == [table["consensus"].idxmax()]
    assert (said["parameters"], said["fraction"]) == (1000, 1 / 12)


def test_controls_take_heads_too():
    chosen, said = choose(make_table(), HEADS, settings_of(criterion="random", parameters=2000), 3)
    assert chosen.neurons.unit == "head" and chosen.neurons.flat().tolist() == [
        *select(make_table(), "random", 2, seed=3).neurons.flat()
    ]
    assert said["parameters"] == 2000


@pytest.mark.parametrize(
    ("criterion", "of"),
    [
        ("caneft-attention", {}),
        ("specific", HEADS),
    ],
)
def test_a_criterion_for_other_units_than_the_tables_is_refused(criterion, of):
    with refused(criterion, "head", "neuron"):
        choose(make_table(), about() | of, settings_of(criterion=criterion, fraction=0.5), 0)


@pytest.mark.parametrize("criterion", ["caneft", "importance", "random"])
def test_the_null_is_the_gamma_of_every_criterions_budget(criterion):
    table, relevant = make_table(), task_relevant(make_table(), 0.8)
    asked = settings_of(criterion=criterion, gamma="null", budget_task_relevant=0.8)
    wanted = sum(relevant[n] and table["consensus"][n] >= 0.5 for n in range(20))
    chosen, said = choose(table, about(0.5), asked, draw=3)
    assert 0 < wanted == said["neurons"] < sum(table["consensus"] >= 0.5)
    assert chosen.neurons == select(table, criterion, wanted, seed=3).neurons


def make_dumps(seed, sizes, layers=2, width=50):
    """Dumps with few samples and coarse scores, so that many neurons tie at the cut."""
    rng = np.random.default_rng(seed)
    shift = rng.random((len(sizes), layers, 1, width)).round(1)
    return {
        d: (rng.exponential(1, (layers, size, width)).round(1) + shift[i]).astype(np.float16)
        for i, (d, size) in enumerate(zip(DOMAINS, sizes, strict=True))
    }


def package_selection(dumps, fraction, q):
    stats = {d: {"activation": np.zeros(dump.shape[::2])} for d, dump in dumps.items()}
    table, _ = information.table(dumps, stats, 10, 1, 0, dict.fromkeys(dumps, 64.0))
    relevant = task_relevant(table, q)
    return select(table, "caneft", budget(table, fraction=fraction), relevant).neurons


def witness(folder, dumps, *options):
    paths = [folder / f"{d}.npy" for d in dumps]
    for path, dump in zip(paths, dumps.values(), strict=True):
        np.save(path, dump)
    command = [sys.executable, WITNESS, "--dumps", *paths, *options]
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("seed", "sizes", "fraction", "q"),
    [
        pytest.param(0, (40, 40, 40), 0.1, 1, marks=pytest.mark.slow),
        (1, (31, 40, 30), 0.05, 0.5),
        pytest.param(2, (17, 17, 17), 0.2, 0.9, marks=pytest.mark.slow),
        pytest.param(3, (37, 37, 37), 0.13, 0.8, marks=pytest.mark.slow),
    ],
)
def test_the_witness_selects_the_same_neurons(tmp_path, seed, sizes, fraction, q):
    dumps = make_dumps(seed, sizes)
    ours = package_selection(dumps, fraction, q)
    save(tmp_path / "ours.npz", ours, {})
    options = ("--fraction", fraction, "--task-relevant", q, "--bins", 10)
    result = witness(tmp_path, dumps, *options, "--compare", tmp_path / "ours.npz", "--out", tmp_path / "out.npy")
    assert (result.returncode, result.stdout.strip()) == (0, "0 neurons differ:"), result.stderr
    assert np.load(tmp_path / "out.npy").tolist() == ours.flat().tolist()


def test_the_witness_tells_another_set_apart(tmp_path):
    dumps = make_dumps(0, (20, 20, 20), layers=1)
    ours = package_selection(dumps, 0.1, 1)
    printed = witness(tmp_path, dumps, "--fraction", 0.1)
    assert list(map(int, printed.stdout.split())) == ours.flat().tolist()
    stranger = next(n for n in range(50) if n not in ours.flat())
    other = NeuronSet.from_flat(1, 50, [*ours.flat()[1:], stranger])
    save(tmp_path / "other.npz", other, {})
    result = witness(tmp_path, dumps, "--fraction", 0.1, "--compare", tmp_path / "other.npz")
    assert result.returncode == 1
    assert sorted(map(int, result.stdout.split(":")[1].split())) == sorted([ours.flat()[0], stranger])


def test_random_neurons_can_be_as_many_in_each_layer_as_another_set_has():
    """Layer 1 gets none. Within a layer the draw is the usual one: the neurons with the highest random numbers."""
    table, like = make_table(layers=3), NeuronSet(3, 10, (np.array([0, 1, 2, 3]), np.array([], int), np.array([9])))
    asked, about = settings_of(criterion="random", fraction=0.9, per_layer=2), {"null": {"quantile": 0.0}}
    sets = []
    for draw in range(20):
        chosen, said = choose(table, about, asked, draw, like)
        numbers = np.random.default_rng([draw, 0xCA4EF7]).random(30).reshape(3, 10)
        expected = [sorted(np.argsort(-numbers[layer])[:k].tolist()) for layer, k in enumerate((4, 0, 1))]
        assert [indices.tolist() for indices in chosen.neurons.indices] == expected
        assert said["per_layer"] == [4, 0, 1] and said["layer_matched"] is True
        sets.append(chosen.neurons)
    assert any(len(sets[0] & other) < 5 for other in sets[1:])


@pytest.mark.parametrize(("difference", "chosen"), [(3e-13, 0), (3e-12, 1)])
def test_scores_are_equal_at_twelve_decimals(difference, chosen):
    """The second neuron is ahead by less than half a unit of the twelfth decimal, or by three units."""
    table = make_table(layers=1, width=2).assign(consensus=[0.25, 0.25 + difference])
    assert select(table, "caneft", 1).neurons.indices[0].tolist() == [chosen]
