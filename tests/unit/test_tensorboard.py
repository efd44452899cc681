"""TensorBoard's files show what the runs' logs and scores say. The test reads these files by their format alone."""

import json
import struct

import fake_results
import yaml
from tensorboardX.proto.event_pb2 import Event

from tests.messages import assert_names


def scalars(folder):
    """(tag, step) -> value, from the records of a folder's only file: length, its checksum, data, their checksum."""
    (file,) = folder.iterdir()
    data, place, found = file.read_bytes(), 0, {}
    while place < len(data):
        (size,) = struct.unpack_from("<Q", data, place)
        event = Event.FromString(data[place + 12 : place + 12 + size])
        found |= {(value.tag, event.step): value.simple_value for value in event.summary.value}
        place += size + 16
    return found


def test_losses_and_scores_of_every_run(tmp_path, command_line):
    root, out = tmp_path / "results", tmp_path / "logs"
    methods = {"base": {"method": "base"}, "caneft": {"method": "caneft", "learning_rate": 1e-2}}
    plan = fake_results.plan(methods, seeds=(1, 2))
    fake_results.write(plan, root)
    (root / "config.yaml").write_text(yaml.safe_dump(plan.config.model_dump(mode="json")))
    command_line("tensorboard", root, out)
    runs = {str(path.parent.relative_to(out)) for path in out.rglob("events*")}
    assert runs == {f"tiny/de-en/all/caneft/seed{seed}" for seed in (1, 2)}
    found, run = scalars(out / "tiny/de-en/all/caneft/seed2"), root / "runs/tiny/de-en/all/caneft/seed2"
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    expected = {("training/loss", line["step"]): line["loss"] for line in lines}
    expected |= {("training/dev_loss", line["step"]): line["dev_loss"] for line in lines if "dev_loss" in line}
    for domain, scores in json.loads((run / "scores/test.json").read_text())["domains"].items():
        expected |= {(f"{metric}/{domain}", lines[-1]["step"]): scores[metric]["score"] for metric in ("bleu", "chrf")}
    assert found.keys() == expected.keys()
    assert all(abs(found[key] - value) <= 1e-6 * abs(value) for key, value in expected.items())
    code, _, said = command_line("tensorboard", root, out)
    assert code == 1
    assert_names(said, out)
