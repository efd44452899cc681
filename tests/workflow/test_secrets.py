"""Secrets in the environment stay there: some were planted in the real run, and none of its files has one."""

from tests.workflow.conftest import SECRETS


def test_no_file_of_a_finished_run_holds_a_token(finished):
    assert all(finished.environment[name] == secret for name, secret in SECRETS.items())
    planted = {secret.encode() for secret in SECRETS.values()}
    left = [file for place in (finished.results, finished.root / ".snakemake") for file in place.rglob("*")]
    left = [file for file in left if file.is_file()]
    assert any(file.name == "report.html" for file in left) and any(file.suffix == ".log" for file in left)
    assert [file for file in left if any(secret in file.read_bytes() for secret in planted)] == []
