"""Options of the command line that Snakemake would read otherwise than they look."""

import pytest

from caneft.errors import InputError
from caneft.runtime.command_line import refuse_repeated


@pytest.mark.parametrize(
    ("arguments", "once"),
    [
        (["-n", "--configfile", "a.yaml", "--configfile", "b.yaml", "c.yaml"], "--configfile a.yaml b.yaml c.yaml"),
        (["--configfile=a.yaml", "-n", "--configfiles", "b.yaml", "--cores", "1"], "--configfile a.yaml b.yaml"),
        (["--config", "limit=10", "--cores", "1", "-C", "report={title: x}"], "--config limit=10 'report={title: x}'"),
    ],
)
def test_what_snakemake_would_drop_is_refused(arguments, once):
    """The message has the command that means it."""
    with pytest.raises(InputError) as raised:
        refuse_repeated(arguments)
    assert str(raised.value).endswith(once)


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--cores", "1", "--configfile", "a.yaml", "b.yaml", "--config", "limit=10", "seeds=[1]"],
        ["--configfile", "a.yaml", "--config", "note=--config"],
    ],
)
def test_options_that_are_given_once_pass(arguments):
    refuse_repeated(arguments)
