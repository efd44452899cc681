"""`importance.draws: per_seed` on the finished mini run, up to the report: a seed's runs use its own samples."""

import json

import pytest
import yaml
from safetensors import safe_open

from caneft import neurons
from tests.workflow import job_sets as jobs


@pytest.fixture(scope="module")
def drawn(finished, tmp_path_factory):
    """The mini run, and then a draw for its one seed."""
    workspace = finished.copy(tmp_path_factory.mktemp("drawn"))
    path = workspace.root / "drawn.yaml"
    path.write_text(yaml.safe_dump(workspace.configuration(jobs.draw_per_seed), sort_keys=False), encoding="utf-8")
    done = workspace.snakemake("--cores", "2", config=path, forked=True)
    assert done.returncode == 0, done.stdout[-5000:]
    return workspace


@pytest.mark.slow
def test_a_seed_has_samples_of_its_own_and_its_runs_their_neurons(drawn):
    folders = "importance", "importance-seed1", "importance-heads-seed1"
    sidecars = (json.loads((drawn.results / folder / jobs.M / "it.json").read_text()) for folder in folders)
    shared, own, of_heads = ({sample["id"] for sample in sidecar["samples"]} for sidecar in sidecars)
    assert own == of_heads != shared and len(own) == len(shared) == 60
    chosen = {
        f: neurons.load(drawn.results / f / jobs.M / "all/caneft/draw0.npz") for f in ("neurons", "neurons-seed1")
    }
    assert chosen["neurons"] != chosen["neurons-seed1"]
    with safe_open(drawn.results / f"runs/{jobs.M}/all/caneft/seed1/patch.safetensors", "np") as patch:
        names = [name for name in patch.keys() if name.endswith(".index")]  # noqa: SIM118 - a file is no dict
        tuned = {name: patch.get_tensor(name).tolist() for name in names}
    own = enumerate(chosen["neurons-seed1"].indices)
    assert tuned == {f"layers.{layer}.index": indices.tolist() for layer, indices in own if len(indices)}


@pytest.mark.slow
def test_the_report_is_made_and_nothing_is_left_to_run(drawn, finished):
    assert drawn.plan(drawn.configuration(jobs.draw_per_seed)) == set()
    for name in ("report.html", "tables/criteria.csv", "figures/jaccard.png"):
        assert (drawn.results / name).stat().st_mtime > (finished.results / name).stat().st_mtime
    choice = f"runs/{jobs.M}/all/lora/choice.json"
    assert (drawn.results / choice).stat().st_mtime == (finished.results / choice).stat().st_mtime


@pytest.mark.slow
def test_one_more_seed_runs_what_the_page_says(drawn):
    assert drawn.plan(drawn.configuration(jobs.draw_for_two_seeds)) == jobs.SECOND_DRAW
