"""What cannot work is said from the configuration alone, with its key; and one method alone works to its tables."""

import numpy as np
import pytest

from caneft import comparison, config
from caneft.plan import Plan, Run
from caneft.scoring import comparing
from tests.messages import assert_names
from tests.unit.test_config import DEMO, DOMAINS, SEEN, changed, message

# --- one method alone ----------------------------------------------------------------------------------------------

ALONE = {
    "caneft": {"caneft": {"method": "caneft", "learning_rate": 1e-2}},
    "base": {"base": {"method": "base"}},
    "full": {"full": {"method": "full", "learning_rate": 1e-3}},
    "two without a baseline": {  # nor is there a caneft that they could be compared with
        "full": {"method": "full", "learning_rate": 1e-3},
        "random": {"method": "random", "learning_rate": 1e-2},
    },
}


@pytest.mark.parametrize("methods", ALONE.values(), ids=ALONE)
@pytest.mark.parametrize("seeds", [[1], [1, 2]])
def test_methods_that_are_compared_with_none_have_scores_all_the_same(methods, seeds):
    plan = Plan(config.load(changed(("methods", methods), ("seeds", seeds)), check_files=False))
    found = comparison.settings(plan, ("tiny", "de-en", "all"))
    systems = list(dict.fromkeys((output.variant, output.seed) for output in found.outputs))
    texts = {system: {"it": ["a b c d", "e f"], "law": ["g h i", "j"], "koran": ["k"]} for system in systems}
    references = {"it": ["a b c d", "e x"], "law": ["g h i", "j"], "koran": ["l"]}
    tested = comparing.test_metric(found, systems, comparing.surface_samples("exact", "en", references, texts))
    assert tested["comparisons"] == []
    assert tested["scores"].keys() == methods.keys()
    for columns in tested["scores"].values():
        assert [columns[name]["score"] for name in ("it", "law", "average_seen")] == [50.0, 100.0, 75.0]
        assert (columns["it"]["low"], columns["it"]["high"]) == (0.0, 100.0)
    assert all(np.shape(entry["covariance"]) == (len(methods),) * 2 for entry in tested["errors"].values())


# --- names ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["seen", "dev", "samples", "average_seen", "average_unseen", "average_all"])
@pytest.mark.parametrize("corpora", [SEEN, {"test": DEMO}], ids=["seen", "unseen"])
def test_domains_with_the_names_of_files_and_columns_are_refused(name, corpora):
    assert_names(message(changed((*DOMAINS, name, corpora))), f"directions.de-en.domains.{name}")


@pytest.mark.parametrize("name", ["pretraining", "metrics"])
def test_directions_with_the_names_of_folders_are_refused(name):
    task = {"prompt": {"instruction": "Say it plainly:"}, "domains": {"it": SEEN}}
    said = message(changed(("directions", name, task), ("scoring", "metrics", ["exact"])))
    assert_names(said, f"directions.{name}")


@pytest.mark.parametrize("name", ["average", "copy", "all", "mean", "pretraining", "sample"])
def test_other_domains_keep_their_names(name):
    assert config.load(changed((*DOMAINS, name, SEEN)))


# --- rates ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [10**-2.5, 1 / 3000, 1.234567e-4])
def test_a_rate_that_a_folder_s_name_would_round_is_refused(rate):
    said = message(changed(("methods", "caneft", "learning_rate", [1e-2, rate])))
    assert_names(said, "methods.caneft.learning_rate", repr(rate), f"{rate:g}")


@pytest.mark.parametrize("rate", [1e-2, 0.00316228, 1.23456e-4, 3e-05, 123456.0])
def test_a_rate_of_six_digits_is_the_one_that_its_trial_is_trained_with(rate):
    plan = Plan(config.load(changed(("methods", "caneft", "learning_rate", [2e-2, rate]))))
    trials = plan.trials_of("tiny", "de-en", "caneft", "all")
    parsed = [Run.parse(trial.folder.removeprefix("runs/")).rate for trial in trials]
    assert set(parsed) == {2e-2, rate}


def test_a_single_rate_is_in_no_folder_s_name_and_may_have_any_digits():
    assert config.load(changed(("methods", "caneft", "learning_rate", 10**-2.5)))


# --- mixtures of one domain ----------------------------------------------------------------------------------------


def test_a_mixture_of_one_domain_is_told_what_it_needs():
    """It must not speak of a mixture that nobody wrote, but of what can be written."""
    alone = message(changed(("mixtures", {"mine": {"de-en": ["it"]}})))
    assert_names(alone, "mixtures.mine.select_on", "de-en", "add a domain")
    beside = message(changed(("mixtures", {"mine": {"de-en": ["it"]}, "both": {"de-en": ["it", "law"]}})))
    assert_names(beside, "mixtures.mine.select_on", "both")
    assert "'all'" not in beside
    assert config.load(changed(("mixtures", {"mine": {"de-en": ["it"]}, "all": {"de-en": ["it", "law"]}})))
