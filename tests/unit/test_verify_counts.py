"""`caneft verify` says how many files it compared with a checksum, and how many it could only open."""

import json

from caneft.storage import integrity
from tests.messages import assert_names
from tests.unit.test_explain import finished


def test_what_is_compared_and_what_is_only_opened_is_counted_apart(tmp_path, command_line):
    root = finished(tmp_path / "out")
    opened = sum(path.suffix in (".json", ".jsonl", ".npz") for path in root.rglob("*"))
    before = command_line("verify", root)[1].splitlines()[-1]
    assert_names(before, root, opened, "only opened", "scores", 0)
    patch = root / "runs/tiny/de-en/all/caneft/seed1/patch.safetensors"
    patch.write_bytes(b"weights")
    record = patch.with_name("record.json")
    record.write_text(json.dumps(json.loads(record.read_text()) | {integrity.KEY: integrity.sums(patch)}))
    assert_names(command_line("verify", root)[1].splitlines()[-1], 1, opened)
