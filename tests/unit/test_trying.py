"""`limit`: everything runs on a few pairs, apart from the results of whole corpora, and says so."""

from pathlib import Path

import pytest
import yaml

from caneft.config.loading import load
from caneft.plan import parts
from tests.messages import refused

ROOT = Path(__file__).parents[2]


@pytest.fixture
def raw():
    return yaml.safe_load((ROOT / "config/config.yaml").read_text())


def of_domains(config):
    """The limit of each source, by domain and split."""
    domains = config.directions["de-en"].domains.items()
    return {(name, split): source.limit for name, domain in domains for split, source in domain if source is not None}


def test_everything_that_takes_time_gets_smaller(raw):
    raw["directions"]["de-en"]["domains"]["law"]["test"]["limit"] = 7
    raw["tuning"]["pairs"] = {"it": 60, "law": 20}
    config = load(raw | {"limit": 50}, check_files=False)
    law = ("law", "test")
    assert {key: limit for key, limit in of_domains(config).items() if limit != 50} == {law: 7}
    assert len(of_domains(config)) == 4 * 3 + 1
    assert config.importance.samples == 25
    assert (config.tuning.pairs_per_domain, config.tuning.dev_pairs_per_domain) == (50, 50)
    assert config.tuning.pairs == {"it": 50, "law": 20}
    whole = load(raw, check_files=False)
    assert (config.tuning.epochs, whole.tuning.epochs > 1) == (1, True)
    assert parts.pretraining_text(config, "tiny-llama") == parts.pretraining_text(whole, "tiny-llama")


def test_results_never_mix_and_captions_say_it(raw):
    whole, tried = load(raw, check_files=False), load(raw | {"limit": 50}, check_files=False)
    assert (whole.results_root, tried.results_root) == ("results", "results/limit50")
    assert "50 pairs" in tried.report.note
    assert whole.report.note in tried.report.note


def test_what_a_results_folder_keeps_reads_as_it_was(raw):
    tried = load(raw | {"limit": 50}, check_files=False)
    assert load(tried.model_dump(mode="json"), check_files=False) == tried


def test_a_number_of_samples_that_is_found_out_is_given(raw):
    raw["importance"]["samples"] = "auto"
    assert load(raw | {"limit": 4}, check_files=False).importance.samples == 2


def test_a_limit_that_leaves_no_two_halves_of_the_samples_is_refused(raw):
    with refused("limit", "4"):
        load(raw | {"limit": 3}, check_files=False)


def test_without_a_limit_nothing_is_said(raw):
    assert "limit" not in load(raw, check_files=False).model_dump()
