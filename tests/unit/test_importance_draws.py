"""`importance.draws`: which run selects on which draw of importance samples; several draws in tables and figures."""

import itertools
import json
from pathlib import Path

import fake_results
import pytest

from caneft import neurons
from caneft.plan import Run, importance_folder, information_folder, parts
from caneft.reporting import captions, criteria, inputs, jaccard, results, tables

METHODS = {
    "base": {"method": "base"},
    "full": {"method": "full", "learning_rate": 1e-3},
    "lora": {"method": "lora", "learning_rate": [1e-3, 1e-2], "equal_to": "caneft"},
    "random": {"method": "random", "learning_rate": [1e-3, 1e-2]},
    "joint": {"method": "joint", "learning_rate": 1e-2},
    "caneft": {"method": "caneft", "learning_rate": [1e-3, 1e-2]},
    "heads": {"method": "caneft-attention", "learning_rate": 1e-2, "fraction": 0.25},
}
SEEDS = (2, 1)
BLOCK = ("tiny", "de-en", "all")
PER_SEED = {"draws": "per_seed"}


def planned(seeds=SEEDS, methods=METHODS, **importance):
    return fake_results.plan(methods, seeds=seeds, importance=importance)


SHARED, DRAWN = planned(), planned(**PER_SEED)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Results of DRAWN, in which every seed chose two neurons."""
    root = tmp_path_factory.mktemp("drawn")
    fake_results.write(DRAWN, root)
    sets = {
        "neurons-seed2/{}/caneft/draw0": [0, 1],
        "neurons-seed1/{}/caneft/draw0": [1, 2],
        "neurons-seed2/{}/joint/draw0": [0, 1],
        "neurons-seed1/{}/joint/draw0": [3, 4],
        "neurons-seed2/{}/random/draw2": [0, 5],
        "neurons-seed1/{}/random/draw1": [0, 5],
    }
    for path, chosen in sets.items():
        file = root / f"{path.format('/'.join(BLOCK))}.npz"
        assert file.exists(), "this is where the plan looks for it"
        neurons.save(file, of_model(chosen), {})
    return root


def of_model(chosen):
    return neurons.NeuronSet.from_flat(fake_results.LAYERS, fake_results.WIDTH, chosen)


# --- folders, and who reads which -----------------------------------------------------------------------------------


def test_a_draw_is_in_the_names_of_its_folders():
    units, draws = ("neuron", "head"), (None, 0, 12)
    of_dumps = [importance_folder(unit, seed) for unit in units for seed in draws]
    of_sets = [information_folder(unit, seed) for unit in units for seed in draws]
    assert of_dumps == [
        *("importance", "importance-seed0", "importance-seed12"),
        *("importance-heads", "importance-heads-seed0", "importance-heads-seed12"),
    ]
    assert of_sets == ["neurons", "neurons-seed0", "neurons-seed12", "heads", "heads-seed0", "heads-seed12"]


def sets_of(plan, seed, rate=None):
    found = {v: plan.neuron_set(Run(*BLOCK[:2], v, BLOCK[2], seed, rate)) for v in METHODS if v != "base"}
    return {variant: path and path.replace("/tiny/de-en/all/", " ") for variant, path in found.items()}


def test_a_final_run_has_the_draw_of_its_seed():
    assert sets_of(DRAWN, 1) == {
        "full": None,
        "lora": "neurons-seed1 caneft/draw0.npz",  # it copies the number of parameters
        "random": "neurons-seed1 random/draw1.npz",
        "joint": "neurons-seed1 joint/draw0.npz",
        "caneft": "neurons-seed1 caneft/draw0.npz",
        "heads": "heads-seed1 heads/draw0.npz",
    }
    without_grids = {"caneft": METHODS["joint"]}
    zero = planned(seeds=(0, 1), methods=without_grids, **PER_SEED)
    assert zero.neuron_set(Run(*BLOCK[:2], "caneft", "all", 0)) == "neurons-seed0/tiny/de-en/all/caneft/draw0.npz"


def test_a_trial_has_the_shared_draw_though_it_has_a_seed():
    trials = list(DRAWN.trials(*BLOCK))
    assert {run.seed for run in trials} == {0, 100} and len(trials) == 3 * 2 * 2
    for run in trials:
        assert DRAWN.neuron_set(run) == SHARED.neuron_set(run)
    assert sets_of(DRAWN, 100, 1e-3)["random"] == "neurons random/draw100.npz"


def listed(plan):
    """All files of selections and costs that the workflow asks for, in order."""
    kinds = (inputs.neuron_files, inputs.information_files, inputs.stability_files, inputs.cost_files)
    return [file for kind in kinds for file in kind(plan)], inputs.table_inputs(plan), inputs.figure_inputs(plan)


def test_shared_is_what_it_was():
    said = planned(draws="shared")
    assert listed(said) == listed(SHARED) and parts.reporting(said.config) == parts.reporting(SHARED.config)
    assert not any("-seed" in Path(path).parts[0] for path in [*listed(said)[1], *listed(said)[2]])
    assert sets_of(said, 1) == {
        "full": None,
        "lora": "neurons caneft/draw0.npz",
        "random": "neurons random/draw1.npz",
        "joint": "neurons joint/draw0.npz",
        "caneft": "neurons caneft/draw0.npz",
        "heads": "heads heads/draw0.npz",
    }


def test_tables_and_figures_open_what_each_seed_selected():
    of_seeds = {
        f"neurons-seed{seed}/tiny/de-en/all/{name}.npz"
        for seed in SEEDS
        for name in ("caneft/draw0", "joint/draw0", f"random/draw{seed}")
    }
    costs = {f"neurons-seed{seed}/tiny/de-en/all/information.cost.json" for seed in SEEDS}
    for paths, opened in ((inputs.table_inputs(DRAWN), of_seeds | costs), (inputs.figure_inputs(DRAWN), of_seeds)):
        assert {path for path in paths if path.startswith("neurons-")} == opened
    shared = ("caneft/draw0.npz", "information.json", "information.parquet", "stability.json")
    own = [path for path in inputs.figure_inputs(DRAWN) if path.startswith("neurons/")]
    assert own == [f"neurons/tiny/de-en/all/{name}" for name in shared]


# --- settings of the jobs -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("own", [0, 3])
def test_no_two_draws_have_one_seed(own):
    plan = planned(seed=own, **PER_SEED)
    seeds = [parts.dump(plan.config, *BLOCK[:2], seed=seed).importance.seed for seed in (None, 0, 1, 2, 3, 100)]
    assert seeds == [own, own + 1, own + 2, own + 3, own + 4, own + 101]


def test_a_dump_is_of_its_samples_alone():
    """The shared dump stays when others are drawn beside it; a seed's dump differs from it only in the seed."""
    shared, still, drawn = (
        json.loads(parts.dump(plan.config, *BLOCK[:2], "head", seed).model_dump_json())
        for plan, seed in ((SHARED, None), (DRAWN, None), (DRAWN, 1))
    )
    assert still == shared and "draws" not in shared["importance"]
    assert drawn == shared | {"importance": shared["importance"] | {"seed": 2}}
    for made in (parts.information, parts.stability):
        assert made(DRAWN.config) == made(SHARED.config)
    assert parts.pilot(DRAWN.config, *BLOCK[:2]) == parts.pilot(SHARED.config, *BLOCK[:2])


# --- tables and figures ---------------------------------------------------------------------------------------------


def test_criteria_are_compared_seed_against_seed(root):
    main = tables.main_table(DRAWN, results.scores(DRAWN, root), results.records(DRAWN, root))
    frame = criteria.criteria_table(DRAWN, root, main).set_index("variant")
    # joint: the same in seed 2, nothing shared in seed 1; random: 1 of 3, then none
    assert frame["jaccard"].to_dict() == pytest.approx({"random": 1 / 6, "joint": 1 / 2, "caneft": 1})
    assert frame["neurons"].tolist() == [2, 2, 2] and frame["n_seeds"].tolist() == [2, 2, 2]
    assert frame["chance_jaccard"].tolist() == pytest.approx([2 / (2 * 3 * 384 - 2)] * 3)


def test_sets_of_several_sizes_are_counted_by_their_mean(root, tmp_path):
    """With gamma, each draw selects its own number of neurons."""
    fake_results.write(DRAWN, tmp_path)
    for variant, draws in {"caneft": (0, 0), "joint": (0, 0), "random": SEEDS}.items():
        for seed, draw, size in zip(SEEDS, draws, (2, 4), strict=True):
            path = tmp_path / f"neurons-seed{seed}/tiny/de-en/all/{variant}/draw{draw}.npz"
            neurons.save(path, of_model(range(size)), {})
    main = tables.main_table(DRAWN, results.scores(DRAWN, root), results.records(DRAWN, root))
    frame = criteria.criteria_table(DRAWN, tmp_path, main)
    assert frame["neurons"].tolist() == [3, 3, 3]
    assert frame["chance_jaccard"].tolist() == pytest.approx([(2 / 2302 + 4 / 2300) / 2] * 3)


def test_the_figure_of_overlap_shows_how_far_draws_agree(root):
    found = jaccard.sets(DRAWN, root)[BLOCK]
    draws = found.draws[found.draws["kind"] == "seeds"].set_index("variant")["jaccard"]
    assert draws.to_dict() == pytest.approx({"random": 1, "joint": 0, "caneft": 1 / 3})
    # the first draws: those of seed 1, where caneft has 1 2, joint 3 4 and random 0 5
    names = ["random", "joint", "caneft"]
    assert found.criteria.loc[names, names].to_numpy().tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 1]]


def test_information_marks_what_its_own_draw_selected(root):
    chosen = neurons.load(root / "neurons/tiny/de-en/all/caneft/draw0.npz")
    frame = results.information(DRAWN, root)[BLOCK].table
    marked = frame[frame["selected"]]
    assert (marked["layer"] * fake_results.WIDTH + marked["neuron"]).tolist() == sorted(chosen.flat().tolist())
    assert len(marked) == 115


def test_costs_are_a_mean_over_the_draws(root):
    costs = results.costs(DRAWN, root)
    frame = tables.cost_table(DRAWN, costs, results.records(DRAWN, root)).set_index("stage")
    for stage, names in {
        "importance": ["importance{}/tiny/de-en/it", "importance{}/tiny/de-en/law"],
        "importance of heads": ["importance-heads{}/tiny/de-en/it", "importance-heads{}/tiny/de-en/law"],
        "information": ["neurons{}/tiny/de-en/all/information"],
        "information of heads": ["heads{}/tiny/de-en/all/information"],
    }.items():
        paths = [f"{name}.cost.json".format(draw) for name, draw in itertools.product(names, ("", "-seed1", "-seed2"))]
        taken = [json.loads((root / path).read_text())["wall_seconds"] for path in paths]
        assert frame.loc[stage, "wall_seconds"] == pytest.approx(sum(taken) / 3)
        assert frame.loc[stage, "n_seeds"] == 3  # draws
    assert "3 draws" in captions.cost_caption(DRAWN, costs)
    assert "draws" not in captions.cost_caption(SHARED, costs)


def test_captions_say_what_a_deviation_contains():
    trained = {"base": METHODS["base"], "full": METHODS["full"]}
    alone = planned(methods=trained, **PER_SEED)
    assert captions.seeds(SHARED) == captions.seeds(alone), "what selects nothing has no samples"
    assert captions.seeds(DRAWN) != captions.seeds(SHARED)
