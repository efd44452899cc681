"""`importance.samples: auto`: a pilot decides, dumps reuse its scores, and a new domain does not ask it again."""

import json

import numpy as np
import pytest
import yaml

MODEL = "mini-llama/de-en"
SEEN = ["it", "law", "medical"]


def automatic(config):
    config["importance"] = {"samples": "auto", "auto": {"smallest": 10, "largest": 40, "gain": 0.001}}


def one_more_domain(config):
    automatic(config)
    demo = {split: {"format": "demo", "domain": "garden", "pairs": 80} for split in ("train", "dev", "test")}
    config["directions"]["de-en"]["domains"]["garden"] = demo
    config["mixtures"]["more"] = {"de-en": [*SEEN, "garden"]}


@pytest.fixture(scope="module")
def decided(finished, tmp_path_factory):
    """The mini run, whose dumps are then made again with `samples: auto`."""
    workspace = finished.copy(tmp_path_factory.mktemp("auto"))
    path = workspace.root / "auto.yaml"
    path.write_text(yaml.safe_dump(workspace.configuration(automatic)), encoding="utf-8")
    done = workspace.snakemake("--cores", "2", "importance", config=path, forked=True)
    assert done.returncode == 0, done.stdout[-5000:]
    return workspace


def test_switching_it_on_asks_the_pilot_and_dumps_anew(finished):
    jobs = finished.plan(finished.configuration(automatic))
    assert {job for job in jobs if "importance" in job or "samples" in job} == {
        f"decide_samples {MODEL}",
        *(
            f"dump_importance {dumps}/{MODEL}/{domain}"
            for dumps in ("importance", "importance-heads")
            for domain in SEEN
        ),
    }
    assert "pretrain_model mini-llama" not in jobs


@pytest.mark.slow
def test_dumps_have_the_number_that_the_pilot_decided_and_its_scores(decided):
    folder = decided.results / "importance" / MODEL
    content = json.loads((folder / "samples.json").read_text())
    sizes = [point["samples"] for point in content["points"]]
    assert content["domains"] == SEEN and content["samples"] in (20, 40)
    assert sizes == [5, 10, 20][: len(sizes)] and content["samples"] == 2 * sizes[-1]
    assert list((folder / ".pilot").iterdir()) == []
    for domain in SEEN:
        assert np.load(folder / f"{domain}.npy").shape == (2, content["samples"], 64)
        log = (decided.results / "logs/dump_importance/importance" / MODEL / f"{domain}.log").read_text()
        assert "samples/s" not in log  # nothing was scored again


@pytest.mark.slow
def test_a_new_domain_is_dumped_without_asking_again(decided):
    jobs = decided.plan(decided.configuration(one_more_domain))
    assert f"dump_importance importance/{MODEL}/garden" in jobs
    assert not [
        job for job in jobs if job.startswith("decide_samples") or job.endswith(tuple(f"{MODEL}/{d}" for d in SEEN))
    ]
