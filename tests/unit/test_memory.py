"""How much memory a machine has, and how much jobs are estimated to need."""

import pytest

from caneft import config
from caneft.models.memory import UNKNOWN, Memory, Shape, of_config
from caneft.plan import Plan
from caneft.runtime.memory import limit_mb
from tests.messages import assert_names

GEMMA_270M = {
    "text_config": {
        "vocab_size": 262144,
        "hidden_size": 640,
        "num_hidden_layers": 18,
        "intermediate_size": 2048,
        "num_attention_heads": 4,
        "num_key_value_heads": 1,
        "head_dim": 256,
    }
}
LLAMA_7B = {
    "vocab_size": 32000,
    "hidden_size": 4096,
    "num_hidden_layers": 32,
    "intermediate_size": 11008,
    "num_attention_heads": 32,
    "tie_word_embeddings": False,
}
QWEN_7B = {
    "vocab_size": 152064,
    "hidden_size": 3584,
    "num_hidden_layers": 28,
    "intermediate_size": 18944,
    "num_attention_heads": 28,
    "num_key_value_heads": 4,
    "tie_word_embeddings": False,
}
SMOL_135M = {
    "vocab_size": 49152,
    "hidden_size": 576,
    "num_hidden_layers": 30,
    "intermediate_size": 1536,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "tie_word_embeddings": True,
}
PUBLISHED = {"gemma": (GEMMA_270M, 268_098_176), "llama": (LLAMA_7B, 6_738_415_616), "qwen": (QWEN_7B, 7_615_616_512)}


@pytest.mark.parametrize(("told", "parameters"), PUBLISHED.values(), ids=PUBLISHED)
def test_a_config_json_tells_how_many_parameters_a_model_has(told, parameters):
    """Norms and biases are not counted, as in their authors' figures."""
    assert of_config(told).parameters == pytest.approx(parameters, rel=1e-3)


UNCLEAR = [{}, {"hidden_size": "wide"}, LLAMA_7B | {"num_attention_heads": 0}, LLAMA_7B | {"text_config": 3}]


@pytest.mark.parametrize("told", UNCLEAR)
def test_a_config_json_that_does_not_say_enough_tells_nothing(told):
    assert of_config(told) is None


# --- the machine ----------------------------------------------------------------------------------------------------


def written(root, **files):
    for path, text in files.items():
        place = root / path.replace("__", "/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    return root


MEMINFO = {"proc__meminfo": "MemTotal:       16000000 kB\nMemFree:  1000 kB\n"}  # 16.384 GB; nine tenths are 14745


def test_jobs_may_use_nine_tenths_of_the_machine(tmp_path):
    assert limit_mb(written(tmp_path, **MEMINFO)) == 14745


def test_the_least_limit_of_all_cgroups_around_counts(tmp_path):
    """In cgroup version 2: the slice allows 8 GB, the session any amount, the root more than the machine has."""
    files = {
        "proc__self__cgroup": "0::/user/session\n",
        "sys__fs__cgroup__user__session__memory.max": "max\n",
        "sys__fs__cgroup__user__memory.max": "8000000000\n",
        "sys__fs__cgroup__memory.max": "64000000000\n",
    }
    assert limit_mb(written(tmp_path, **MEMINFO, **files)) == 7200


def test_so_does_one_of_version_1(tmp_path):
    files = {
        "proc__self__cgroup": "5:cpu,cpuacct:/job\n4:memory:/job\n",
        "sys__fs__cgroup__memory__job__memory.limit_in_bytes": "4000000000\n",
        "sys__fs__cgroup__cpu__job__memory.limit_in_bytes": "1000\n",
    }
    assert limit_mb(written(tmp_path, **MEMINFO, **files)) == 3600


def test_this_machine_has_a_limit():
    psutil = pytest.importorskip("psutil")
    assert 0 < limit_mb() <= psutil.virtual_memory().total / 1e6


# --- jobs -----------------------------------------------------------------------------------------------------------

PAIRS = {"format": "demo", "language": "de", "domain": "it", "pairs": 9}
RAW = {
    "models": {
        "gemma": {"hub": "a/gemma", "dtype": "bfloat16"},
        "wide": {"hub": "a/gemma", "dtype": "float32"},
        "smol": {"hub": "a/smol", "dtype": "bfloat16"},
        "llama": {"hub": "a/llama", "dtype": "bfloat16", "resources": {"gpu": 1}},
        "given": {"hub": "a/given", "resources": {"mem_mb": 1234}},
    },
    "directions": {
        "de-en": {
            "source_language": "German",
            "target_language": "English",
            "domains": {"it": dict.fromkeys(("train", "dev", "test"), PAIRS)},
        }
    },
    "selection": {"fraction": 0.01},
    "mixtures": {"all": {"de-en": ["it"]}},
    "methods": {
        "base": {"method": "base"},
        "icl": {"method": "icl", "examples": 5},
        "caneft": {"method": "caneft", "learning_rate": 2e-4},
        "full": {"method": "full", "learning_rate": 1e-5},
        "offload": {"method": "full", "learning_rate": 1e-5, "optimizer": "adamw-offload"},
        "roomy": {"method": "lora", "learning_rate": 1e-4, "resources": {"mem_mb": 4321}},
    },
}


def memory(monkeypatch, **sections):
    """Memory of a configuration whose models have the shapes that their names say."""
    found = Memory(Plan(config.Config.model_validate(RAW | sections)))
    shapes = {
        "gemma": of_config(GEMMA_270M),
        "wide": of_config(GEMMA_270M),
        "smol": of_config(SMOL_135M),
        "llama": of_config(LLAMA_7B),
        "given": of_config(LLAMA_7B),
    }
    monkeypatch.setattr(found, "shape", shapes.get)
    return found


MEASURED = {
    "tuning": (lambda memory: memory.tuning("gemma", "caneft"), 6071.4),
    "importance": (lambda memory: memory.importance("gemma"), 3308.7),
    "translation": (lambda memory: memory.translation("gemma", "base"), 1934.1),
    "translation of long prompts": (lambda memory: memory.translation("wide", "icl"), 2805.5),
    "dequantising": (lambda memory: memory.dequantising("gemma"), 2249.0),
}
"""Peak memory of jobs of Gemma 3 270M (config/gemma.yaml, two CPU cores), in units of 2^20 bytes. Long prompts: as many
of 340 tokens as a batch holds, in float32, in a process that only translates."""
SMALL = {"tuning": {"tokens_per_batch": 768}, "importance": {"tokens_per_batch": 1024}}
"""Settings of two jobs of SmolLM2 135M, which had no part in the constants."""


@pytest.mark.parametrize(("reckoned", "peak"), MEASURED.values(), ids=MEASURED)
def test_jobs_are_reckoned_to_need_what_was_measured_or_a_little_more(monkeypatch, reckoned, peak):
    taken = peak * 2**20 / 1e6
    assert taken <= reckoned(memory(monkeypatch)) <= taken / 0.65


def test_so_are_jobs_of_another_model(monkeypatch):
    found = memory(monkeypatch, **SMALL)
    for needed, peak in ((found.tuning("smol", "caneft"), 2485.4), (found.importance("smol"), 1695.9)):
        assert peak * 2**20 / 1e6 <= needed <= peak * 2**20 / 1e6 / 0.65


def test_what_is_given_counts(monkeypatch):
    found = memory(monkeypatch)
    assert [found.tuning("given", "full"), found.translation("given", "base"), found.importance("given")] == [1234] * 3
    assert found.tuning("gemma", "roomy") == 4321


def test_of_a_model_that_nobody_has_seen_a_constant_is_asked_for():
    found = Memory(Plan(config.Config.model_validate(RAW | {"results_root": "/nowhere"})))
    assert found.tuning("gemma", "full") == found.importance("gemma") == UNKNOWN == 4000


def test_full_fine_tuning_needs_its_states_too(monkeypatch):
    """`adamw` takes 16 bytes per parameter on a CPU; `adamw-offload` beside a GPU 12, and 4 more to read a state."""
    found, parameters = memory(monkeypatch), of_config(LLAMA_7B).parameters
    states = found.tuning("gemma", "offload") - found.tuning("gemma", "caneft")
    assert states == pytest.approx(1.1 * 16 * of_config(GEMMA_270M).parameters / 1e6, abs=2)
    assert found.tuning("gemma", "full") > found.tuning("gemma", "offload")  # its passes are in float32
    on_gpu = found.tuning("llama", "offload") - found.tuning("llama", "caneft")
    assert on_gpu == pytest.approx(1.1 * 16 * parameters / 1e6, abs=2)


def test_on_a_gpu_batches_need_none_of_the_machine_s_memory(monkeypatch):
    """The weights do need it, twice: 27 GB for Llama-2 in bfloat16, and some for the libraries."""
    found = memory(monkeypatch)
    larger = memory(monkeypatch, tuning={"tokens_per_batch": 64000}, importance={"tokens_per_batch": 64000})
    assert found.tuning("llama", "caneft") == larger.tuning("llama", "caneft") == found.importance("llama")
    assert 27_000 < found.importance("llama") < 36_000
    assert larger.tuning("gemma", "caneft") > 5 * found.tuning("gemma", "caneft")


def test_each_process_of_a_job_loads_the_model(monkeypatch):
    models = RAW["models"] | {"llama": {"hub": "a/llama", "dtype": "bfloat16", "resources": {"gpu": 4}}}
    one, four = memory(monkeypatch), memory(monkeypatch, models=models)
    assert four.importance("llama") == pytest.approx(4 * one.importance("llama"), abs=4)
    assert four.translation("llama", "base") == one.translation("llama", "base")  # it asks for one card


def test_less_is_kept_where_activations_are_computed_again(monkeypatch):
    again = memory(monkeypatch, tuning={"gradient_checkpointing": True})
    assert again.tuning("gemma", "caneft") < memory(monkeypatch).tuning("gemma", "caneft") / 2


def test_of_what_a_machine_cannot_give_the_most_is_named(monkeypatch):
    """Of Gemma's jobs, `full` in float32 needs most, then `offload`; neuron tuning and importance need less."""
    found = memory(monkeypatch, models={"gemma": RAW["models"]["gemma"]})
    assert found.beyond(found.tuning("gemma", "full")) == ""
    assert_names(found.beyond(10_000), "gemma by full", "(and 1 more)", found.tuning("gemma", "full"), 10_000)


def test_logits_come_in_chunks():
    shape = Shape(vocabulary=2**18, hidden=8, layers=1, neurons=8, queries=8, keys=8, tied=True)
    assert shape.logits(10) == 12 * 10 * 2**18 and shape.logits(10**6) == 12 * 2**24


def test_the_chunk_is_that_of_the_head():
    """This module must not import the head, because the Snakefile works without torch."""
    from caneft.models import head
    from caneft.models.memory import CHUNK

    assert head.LOGITS["cpu"] == CHUNK
