"""Models from a hub and from folders: what is downloaded, what may be loaded, and the messages otherwise."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from caneft.config import Model, resolver
from caneft.models import checking, loading, manifests, resolving
from tests.hub import running
from tests.messages import assert_names, refused
from workflow.scripts import resolve_model

ROOT = Path(__file__).parents[2]
NAME = "owner/tiny"


@pytest.fixture(scope="module")
def folder(tiny_model, tokenizer, tmp_path_factory):
    """A model folder as published: weights in safetensors."""
    path = tmp_path_factory.mktemp("published")
    tiny_model().save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


@pytest.fixture
def pickled(folder, tmp_path):
    """The same with weights only in PyTorch's format."""
    path = tmp_path / "pickled"
    shutil.copytree(folder, path)
    from safetensors.torch import load_file

    torch.save(load_file(path / "model.safetensors"), path / "pytorch_model.bin")
    (path / "model.safetensors").unlink()
    return path


@pytest.fixture
def hub():
    with running() as found:
        yield found


@pytest.fixture
def resolve(hub, monkeypatch, capsys):
    """Runs the step here, with its own hub and a cache that is empty at first; returns its one message if it fails."""
    constants = sys.modules["huggingface_hub"].constants
    monkeypatch.setattr(constants, "ENDPOINT", hub.address)
    monkeypatch.setattr(
        constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub.address + "/{repo_id}/resolve/{revision}/{filename}"
    )
    monkeypatch.delenv("HF_TOKEN", raising=False)

    def run(home, manifest, offline=False, **model) -> str | None:
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", offline)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(home / "hub"))
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(home / "token"))
        arguments = ["--settings", settings_of(**model), "--manifest", str(manifest)]
        monkeypatch.setattr(sys, "argv", ["resolve_model", *arguments])
        capsys.readouterr()
        try:
            resolve_model.main()
        except SystemExit as end:
            said = capsys.readouterr().err
            assert end.code == 1 and "Traceback" not in said, said
            return said[said.index("Error: ") :]

    return run


def settings_of(**model) -> str:
    return Model(**({"hub": NAME} | model)).model_dump_json(exclude_defaults=True)


def started(hub, home, manifest):
    """Runs the step as the workflow starts it."""
    left_out = ("HF_TOKEN", "HF_HUB_CACHE", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
    kept = {name: value for name, value in os.environ.items() if name not in left_out}
    command = [sys.executable, "-m", "workflow.scripts.resolve_model", "--settings", settings_of()]
    return subprocess.run(
        [*command, "--manifest", str(manifest)],
        cwd=ROOT,
        env=kept | {"HF_ENDPOINT": hub.address, "HF_HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=600,
    )


@pytest.mark.slow
def test_a_hub_model_is_downloaded_once_and_pinned_to_its_commit(hub, resolve, folder, tmp_path):
    published, home = tmp_path / "published", tmp_path / "home"
    shutil.copytree(folder, published)
    (published / "consolidated.safetensors").write_bytes(b"once more")
    (published / "pytorch_model.bin").write_bytes(b"once more")
    (published / "modeling_tiny.py").write_text("raise SystemExit")
    commit = hub.add(f"models/{NAME}", published)
    done = started(hub, home, tmp_path / "manifest.json")
    assert done.returncode == 0, done.stderr
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert (manifest["id"], manifest["revision"]) == (NAME, commit)
    assert Path(manifest["folder"]).is_relative_to(home)
    assert list(manifest["weights"]) == ["model.safetensors"]
    wanted = {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}
    assert wanted <= {*hub.downloads()}
    assert not {"consolidated.safetensors", "pytorch_model.bin", "modeling_tiny.py"} & {*hub.downloads()}
    model = loading.load_model(manifests.read_manifest(tmp_path / "manifest.json"), "float32", torch.device("cpu"))
    assert model.config.model_type == "llama"

    before = len(hub.downloads())
    assert resolve(home, tmp_path / "again.json", offline=True) is None
    assert json.loads((tmp_path / "again.json").read_text()) == manifest
    assert len(hub.downloads()) == before


def test_a_gated_model_is_one_message_with_the_remedy(hub, resolve, folder, tmp_path):
    hub.add(f"models/{NAME}", folder)
    hub.gated.add(f"models/{NAME}")
    said = resolve(tmp_path / "home", tmp_path / "manifest.json")
    assert_names(said, NAME, "`hf auth login`", "HF_TOKEN")
    assert len(said.splitlines()) == 1 and "(revision" not in said  # not as for a missing one
    assert not (tmp_path / "manifest.json").exists()


def test_a_model_that_the_hub_does_not_have_is_one_message(hub, resolve, folder, tmp_path):
    said = resolve(tmp_path / "home", tmp_path / "manifest.json")
    assert_names(said, NAME, "main", "models.*.hub", "`hf auth login`")
    hub.add(f"models/{NAME}", folder)
    said = resolve(tmp_path / "home", tmp_path / "manifest.json", revision="v9")
    assert_names(said, NAME, "v9", "models.*.hub")


def test_without_network_and_cache_the_message_names_snakemake_fetch(hub, resolve, tmp_path):
    said = resolve(tmp_path / "home", tmp_path / "manifest.json", offline=True)
    assert_names(said, NAME, "main", "`snakemake fetch`", "models.*.path")
    assert hub.asked == []


def test_a_model_that_is_gone_from_the_cache_is_one_message_that_names_snakemake_fetch(hub, resolve, folder, tmp_path):
    """The whole cache is gone, or one file of it."""
    hub.add(f"models/{NAME}", folder)
    home, manifest = tmp_path / "home", tmp_path / "manifest.json"
    assert resolve(home, manifest) is None
    weights = Path(json.loads(manifest.read_text())["folder"]) / "model.safetensors"
    weights.unlink()
    with refused(NAME, weights, manifest, "HF_HOME", "`snakemake fetch`"):
        manifests.read_manifest(manifest)
    shutil.rmtree(home)
    with refused(NAME, weights.parent, manifest, "HF_HOME", "`snakemake fetch`") as caught:
        manifests.read_manifest(manifest)
    assert weights.name not in str(caught.value)

    manifest.unlink()
    assert resolve(home, manifest) is None
    assert manifests.read_manifest(manifest)["folder"] == str(weights.parent.resolve())


def test_a_model_of_the_users_own_that_is_gone_is_to_be_put_back(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "mine")
    (tmp_path / "manifest.json").write_text(json.dumps(found(tmp_path, tmp_path / "mine")))
    manifests.read_manifest(tmp_path / "manifest.json")
    shutil.rmtree(tmp_path / "mine")
    with refused("model mine", tmp_path / "mine") as caught:
        manifests.read_manifest(tmp_path / "manifest.json")
    assert "fetch" not in str(caught.value)


def test_pickled_weights_of_the_hub_are_downloaded_only_where_they_are_allowed(hub, resolve, pickled, tmp_path):
    hub.add(f"models/{NAME}", pickled)
    said = resolve(tmp_path / "home", tmp_path / "manifest.json")
    assert_names(said, "*.safetensors", "models.*.allow_pickle: true")
    assert "pytorch_model.bin" not in hub.downloads()
    assert resolve(tmp_path / "home", tmp_path / "manifest.json", allow_pickle=True) is None
    assert hub.downloads().count("pytorch_model.bin") == 1


def found(tmp_path, path, **model):
    """Manifest of a local folder, made by the step's functions."""
    origin = resolving.find(Model(path=str(path), **model), resolver(None))
    return manifests.describe(path, origin, checking.checked(origin))


def test_pickled_weights_are_the_same_weights_and_need_the_key(folder, pickled, tmp_path):
    with refused(pickled, "*.safetensors", "models.*.allow_pickle: true"):
        found(tmp_path, pickled)
    manifest = found(tmp_path, pickled, allow_pickle=True)
    assert list(manifest["weights"]) == ["pytorch_model.bin"]
    cpu = torch.device("cpu")
    ours = loading.load_model(manifest, "float32", cpu).state_dict()
    expected = loading.load_model(found(tmp_path, folder), "float32", cpu).state_dict()
    assert ours.keys() == expected.keys() and all(torch.equal(ours[name], expected[name]) for name in ours)
    with refused("safetensors", by=OSError):  # the manifest decides, not what is in the folder
        loading.load_model(manifest | {"allow_pickle": False}, "float32", cpu)


def test_code_in_pickled_weights_is_not_run(pickled, tmp_path):
    class Payload:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "ran"),)

    torch.save({"model.embed_tokens.weight": Payload()}, pickled / "pytorch_model.bin")
    with refused("pytorch_model.bin"):
        found(tmp_path, pickled, allow_pickle=True)
    manifest = {"folder": str(pickled), "allow_pickle": True}
    with pytest.raises(Exception, match="weights_only|Weights only"):
        loading.load_model(manifest, "float32", torch.device("cpu"))
    assert not (tmp_path / "ran").exists()
    torch.load(pickled / "pytorch_model.bin", weights_only=False)  # so the payload does work
    assert (tmp_path / "ran").exists()


def test_safetensors_are_taken_where_there_are_both(folder, pickled, tmp_path):
    shutil.copy(folder / "model.safetensors", pickled)
    (pickled / "pytorch_model.bin").write_bytes(b"broken")
    manifest = found(tmp_path, pickled, allow_pickle=True)
    assert list(manifest["weights"]) == ["model.safetensors"]
    loading.load_model(manifest, "float32", torch.device("cpu"))


def test_a_folder_without_weights_is_named(folder, tmp_path):
    shutil.copy(folder / "config.json", tmp_path)
    with refused(tmp_path, "*.safetensors", "models.*.allow_pickle: true"):
        found(tmp_path, tmp_path)
    with refused(tmp_path, "*.safetensors", manifests.PICKLED):
        found(tmp_path, tmp_path, allow_pickle=True)


OWN_CODE = """
from pathlib import Path
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
Path({ran!r}).touch()
class OwnConfig(LlamaConfig):
    model_type = {model_type!r}
class OwnModel(LlamaForCausalLM):
    config_class = OwnConfig
class OwnTokenizer(PreTrainedTokenizerFast):
    pass
"""


@pytest.fixture
def with_code(folder, tmp_path, monkeypatch):
    """Makes a model folder with Python code, which would write the file `ran`."""
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))

    def make(model_type):
        path = tmp_path / "with_code"
        shutil.copytree(folder, path)
        (path / "own.py").write_text(OWN_CODE.format(ran=str(tmp_path / "ran"), model_type=model_type))
        for name, classes in (
            ("config.json", {"AutoConfig": "own.OwnConfig", "AutoModelForCausalLM": "own.OwnModel"}),
            ("tokenizer_config.json", {"AutoTokenizer": [None, "own.OwnTokenizer"]}),
        ):
            content = json.loads((path / name).read_text()) | {"auto_map": classes}
            if name == "config.json":
                content["model_type"] = model_type
            (path / name).write_text(json.dumps(content))
        return path

    return make


def test_code_of_a_model_is_not_run_unless_it_is_trusted(with_code, tmp_path):
    path, cpu = with_code("llama"), torch.device("cpu")
    manifest = found(tmp_path, path)
    assert type(loading.load_model(manifest, "float32", cpu)).__name__ == "LlamaForCausalLM"
    loading.load_tokenizer(manifest)
    assert not (tmp_path / "ran").exists()
    manifest = found(tmp_path, path, trust_remote_code=True)
    assert (tmp_path / "ran").exists()
    assert type(loading.load_model(manifest, "float32", cpu)).__name__ == "OwnModel"
    assert type(loading.load_tokenizer(manifest)).__name__ == "OwnTokenizer"


def test_a_model_that_cannot_do_without_its_code_is_one_message(with_code, tmp_path):
    with refused("with_code", "*.py", "models.*.trust_remote_code: true"):
        found(tmp_path, with_code("of-its-own"))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("architecture", ["llama", "qwen2", "gemma2"])
def test_a_base_that_is_pretrained_here_keeps_its_tokenizer(architecture, tiny_model, tokenizer, tmp_path):
    """For some architectures, transformers would split words in its own way, whatever tokenizer.json says."""
    tiny_model(architecture).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    text = "Artikel 1234 gilt  nicht,\n\nder Hund's Pläne"
    loaded = loading.load_tokenizer({"id": manifests.PRETRAINED_HERE, "folder": str(tmp_path)})
    assert loaded(text).input_ids == tokenizer(text).input_ids
    assert loaded.chat_template == tokenizer.chat_template
