"""A new user's path: `caneft init` turns corpora in three formats and a model folder into tables, without an edit."""

import subprocess
import sys

import pandas as pd
import pytest

from tests import own, warm


@pytest.mark.slow
@pytest.mark.xdist_group("own")
def test_own_corpora_and_model_come_to_tables_without_an_edit(pristine, tmp_path):
    workspace = pristine.copy(tmp_path / "clone")
    own.corpora(workspace.root / "data")
    own.model(workspace.root / "base")
    arguments = ["mine.yaml", "--data", "data", "--model", "base", "--direction", "de-en"]
    python = sys.executable, "-m"
    for command in (
        [*python, "caneft", "init", *arguments],
        [*python, "caneft", "check", "mine.yaml"],
        [*python, "snakemake", "--cores", "2", "tables", "--configfile", "mine.yaml"],
    ):
        done = subprocess.run(
            command,
            cwd=workspace.root,
            env=warm.forking(workspace.environment) | {"CUDA_VISIBLE_DEVICES": ""},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=3000,
        )
        assert done.returncode == 0, done.stdout[-8000:]
    table = pd.read_csv(workspace.root / "results/mine/tables/main.csv").set_index(["metric", "variant"])
    for metric in ("bleu", "chrf"):
        rows = table.loc[metric]
        assert list(rows.index) == ["base", "lora", "random", "caneft", "copy"]
        assert rows[[f"{domain}_mean" for domain in ("it", "law", "medical")]].notna().all(axis=None)
    trained = table.loc["bleu"].trainable_parameters.dropna()
    assert trained["base"] == 0 and trained["caneft"] == trained["random"] > 0
