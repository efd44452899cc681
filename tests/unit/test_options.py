"""Numbers that commands cannot use are refused as they are given, with the option and the value."""

import pytest

from tests.messages import assert_names

REFUSED = [
    ("compare a b --resamples", ["-5", "0", "2.5", "many"]),
    ("compare a b --alpha", ["7", "-0.1", "nan", "inf"]),
    ("compare a b --seed", ["-1"]),
    ("plan a.yaml --price", ["-5", "nan", "inf", "1,5"]),
    ("plan a.yaml --prompt", ["-75", "0", "nan"]),
    ("plan a.yaml --response", ["-25", "0", "inf"]),
    ("held-out results out --pairs", ["0", "-1"]),
    ("held-out results out --threads", ["0"]),
    ("explain main.csv --row x --column y --seed", ["-1"]),
]


@pytest.mark.parametrize(("arguments", "value"), [(line, value) for line, values in REFUSED for value in values])
def test_a_number_out_of_bounds_is_refused(command_line, arguments, value):
    *_, option = words = arguments.split()
    code, out, said = command_line(*words[:-1], f"{option}={value}")
    assert (code, out) == (2, "")
    assert_names(said.splitlines()[-1], option, f"{value!r}")


@pytest.mark.parametrize("arguments", ["--price=0", "--price=2.5", "--prompt=1", "--prompt=75.5 --response=1e3"])
def test_numbers_within_bounds_are_taken(command_line, tmp_path, arguments):
    (tmp_path / "a.yaml").write_text("seeds: [1]\n")
    code, out, said = command_line("plan", tmp_path / "a.yaml", *arguments.split())
    assert code == 0 and out, said
