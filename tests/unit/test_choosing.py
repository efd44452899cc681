"""The choice of a learning rate: highest mean dev chrF2, ties to the lower rate, edges flagged."""

import pytest

from caneft.errors import InputError
from caneft.scoring.choosing import choose, mean_chrf


def test_the_mean_is_over_domains():
    domains = {"it": {"chrf": {"score": 40.0}, "segments": 900}, "law": {"chrf": {"score": 61.0}, "segments": 100}}
    assert mean_chrf(domains) == 50.5


@pytest.mark.parametrize(
    ("trials", "rate", "edge"),
    [
        ({1e-3: 50.0, 3e-3: 60.0, 1e-2: 55.0}, 3e-3, None),
        ({1e-2: 55.0, 1e-3: 50.0, 3e-3: 60.0}, 3e-3, None),  # in whatever order they come
        ({1e-3: 60.0, 3e-3: 60.0, 1e-2: 55.0}, 1e-3, "low"),
        ({1e-3: 50.0, 3e-3: 60.0, 1e-2: 60.0}, 3e-3, None),
        ({1e-3: 50.0, 3e-3: 60.0, 1e-2: 61.0}, 1e-2, "high"),
        ({1e-3: 50.0, 3e-3: 60.0, 1e-2: None}, 3e-3, None),  # what lies above is known: it diverges
        ({1e-3: 0.0, 3e-3: None}, 1e-3, "low"),
    ],
)
def test_choice(trials, rate, edge):
    found = choose(trials)
    assert (found["learning_rate"], found["edge"]) == (rate, edge)
    assert [float(name) for name in found["grid"]] == sorted(trials)
    assert all(found["grid"][f"{rate:g}"] == score for rate, score in trials.items())


def test_nothing_to_choose_from_is_said():
    with pytest.raises(InputError, match="every trial diverged \\(rates 0.001, 0.01\\)"):
        choose({1e-2: None, 1e-3: None})
