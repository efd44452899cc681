"""Some faults of `make test-faults`, each in a copy of the finished run that lacks the runs of one method."""

from random import Random

import pytest

from tests.faults import bench, kinds, recovery
from tests.workflow.conftest import MINI


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "stage", "seed"), [("all", bench.ONE_RUN, 2), ("corrupt", "reporting", 3)])
def test_the_same_command_ends_with_the_same_bytes(finished, tmp_path, kind, stage, seed):
    whole = bench.Bench(finished, MINI)
    own, random = bench.cut_back(whole, tmp_path / "own", stage), Random(seed)
    done = kinds.KINDS[kind](own, random, stage)
    assert done.code != 0, done.moment
    well, taken = recovery.recover(own, done)
    assert well, (done.moment, taken, done.said[-3000:])
    assert recovery.flaws(own, whole, done) == []
    if kind == "corrupt":
        assert taken == [f"deleted {done.moment.split(': ')[0]}"]
