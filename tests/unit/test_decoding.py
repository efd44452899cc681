"""Decoding compared with one whole forward pass per token, sentence by sentence."""

import copy
import logging
import math
import re
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from transformers import GenerationConfig

from caneft import config
from caneft.corpora.store import Row
from caneft.prompts import Prompts
from caneft.translation.decoding import Hypothesis, as_line, limits, source_losses, translate, translations
from caneft.translation.retrieval import Examples
from caneft.tuning.adapters import Adapters
from tests import naive
from tests.conftest import FAMILIES
from tests.messages import refused

SETTINGS = config.Decoding(batch_size=3, length_factor=0.5, length_offset=6)

DIFFERENT = ("llama", "gemma3", "phi3")
SOME = pytest.mark.parametrize(
    "architecture",
    [name if name in DIFFERENT else pytest.param(name, marks=pytest.mark.slow) for name in FAMILIES],
    indirect=True,
)
"""For claims in which the family matters only as far as batches equal naive decoding, which is tested of them all."""

OFTEN = {"phi3": 1.5, "qwen3": 1.5}
"""Weight of the end of turn in families that would end all sentences with 2.5, or none."""


@pytest.fixture
def model(tiny_model, architecture, prompts):
    """Ends some sentences early, others never."""
    made = tiny_model(architecture, initializer_range=0.4)
    made.lm_head.weight[prompts.end_of_turn] *= OFTEN.get(architecture, 2.5)
    return made


@pytest.fixture
def sources(pairs):
    return [text for pair in pairs for text in pair]


@pytest.fixture
def some(sources):
    """Short sentences, and a long one among them: two batches and a part of a third."""
    return [sources[i] for i in (0, 1, 4, 5, 2, 14, 10)]


def expected(model, prompts, source, settings, examples=()):
    """The witness's text, and whether it was cut."""
    tokens = len(prompts.tokenizer(source, add_special_tokens=False).input_ids)
    limit = math.ceil(settings.length_factor * tokens) + settings.length_offset
    ids = naive.greedy(model, prompts.encode(source, examples=examples).prompt, prompts.end_of_turn, limit)
    ended = ids[-1] == prompts.end_of_turn
    text = prompts.tokenizer.decode(ids[:-1] if ended else ids, skip_special_tokens=True).strip()
    return Hypothesis(text, truncated=not ended)


def test_batches_equal_naive_decoding_one_by_one(model, prompts, sources):
    found = translate(model, prompts, sources, SETTINGS)
    assert found == [expected(model, prompts, source, SETTINGS) for source in sources]
    assert {hypothesis.truncated for hypothesis in found} == {True, False}
    assert len({hypothesis.text for hypothesis in found}) > len(sources) / 2


def test_padding_with_the_end_of_turn_changes_nothing(model, tokenizer, prompts, some):
    """A tokenizer without a pad token gets this. The prompt contains that token, too, so ids do not show the mask."""
    other = copy.deepcopy(tokenizer)
    other.pad_token = other.eos_token
    found = translate(model, Prompts(other, lambda domain: "Translate."), some, SETTINGS)
    assert found == translate(model, prompts, some, SETTINGS)


@SOME
def test_order_and_limits_do_not_depend_on_the_batch(model, prompts, some):
    one_by_one = [translate(model, prompts, [source], SETTINGS)[0] for source in some]
    for size in (1, 5, 64):
        found = translate(model, prompts, some[::-1], SETTINGS.model_copy(update={"batch_size": size}))
        assert found == one_by_one[::-1]


@SOME
def test_the_checkpoints_generation_settings_have_no_effect(model, prompts, some):
    before = translate(model, prompts, some, SETTINGS)
    model.generation_config = GenerationConfig(
        do_sample=True,
        temperature=3.0,
        top_k=5,
        repetition_penalty=5.0,
        no_repeat_ngram_size=1,
        max_new_tokens=2,
        min_new_tokens=2,
        num_return_sequences=2,
        eos_token_id=17,
        suppress_tokens=[prompts.end_of_turn],
    )
    assert translate(model, prompts, some, SETTINGS) == before


def test_they_have_none_either_when_they_come_from_a_file(tiny_model, prompts, sources, tmp_path):
    from caneft.models.loading import load_model

    model = tiny_model(initializer_range=0.4)
    before = translate(model, prompts, sources[:4], SETTINGS)
    model.generation_config = GenerationConfig(do_sample=True, temperature=3.0, repetition_penalty=5.0, max_length=9)
    model.save_pretrained(tmp_path)
    loaded = load_model({"folder": str(tmp_path)}, "float32", torch.device("cpu"))
    assert loaded.generation_config.repetition_penalty == 5.0
    assert translate(loaded, prompts, sources[:4], SETTINGS) == before


def always(model, token):
    """Makes the model answer nothing but this token."""
    model.lm_head = nn.Linear(model.config.hidden_size, model.config.vocab_size)
    with torch.no_grad():
        model.lm_head.weight.zero_()
        model.lm_head.bias.zero_()[token] = 1
    return model


def test_a_hypothesis_that_ends_at_once_is_empty(tiny_model, prompts, sources):
    found = translate(always(tiny_model(), prompts.end_of_turn), prompts, sources, SETTINGS)
    assert found == [Hypothesis("", truncated=False)] * len(sources)
    assert all(hypothesis.empty for hypothesis in found)


def test_one_that_never_ends_is_cut_at_its_own_limit(tiny_model, prompts, sources):
    (token,) = prompts.tokenizer("x", add_special_tokens=False).input_ids
    found = translate(always(tiny_model(), token), prompts, sources, SETTINGS)
    lengths = [len(prompts.tokenizer(source, add_special_tokens=False).input_ids) for source in sources]
    assert found == [Hypothesis("x" * (math.ceil(length / 2) + 6), truncated=True) for length in lengths]


def passes(model):
    """Shapes of the model's inputs from here on: rows and tokens of each pass."""
    shapes = []
    model.register_forward_pre_hook(lambda _, args, kwargs: shapes.append(kwargs["input_ids"].shape), with_kwargs=True)
    return shapes


@SOME
def test_rows_that_have_ended_leave_the_batch(model, prompts, sources):
    """According to the witness, less than a quarter of the rows in a pass are sentences that have ended."""
    lengths = []
    for source, limit in zip(sources, limits(prompts, sources, SETTINGS), strict=True):
        lengths.append(len(naive.greedy(model, prompts.encode(source).prompt, prompts.end_of_turn, limit)))
    shapes, told = passes(model), []
    translate(model, prompts, sources, SETTINGS.model_copy(update={"batch_size": 64}), before=told.append)
    rows = [rows for rows, _ in shapes]
    assert len(rows) == max(lengths) and [tokens for _, tokens in shapes[1:]] == [1] * (len(rows) - 1)
    for done, of_pass in enumerate(rows):
        going = sum(length > done for length in lengths)
        assert going <= of_pass and 4 * (of_pass - going) < of_pass
    assert told == sorted(set(rows), reverse=True) and len(told) > 3


def test_batches_are_of_the_longest_first_and_of_so_many_tokens(tiny_model, prompts, some):
    """A batch takes all sentences that fit, prompts and longest translations together, or one that is too large."""
    settings = config.Decoding(batch_size=4, length_factor=0, length_offset=170)
    encoded = sorted((len(prompt) for prompt in prompts.encode_sources(some)), reverse=True)
    model = always(tiny_model(), prompts.end_of_turn)
    shapes = passes(model)
    translate(model, prompts, some, settings)
    left = list(encoded)
    for rows, width in shapes:
        own, left = left[:rows], left[rows:]
        assert width == own[0]
        assert rows == 1 or rows * (width + 170) <= 4 * 192
        assert not left or rows == 4 or (rows + 1) * (width + 170) > 4 * 192
    assert not left and len({rows for rows, _ in shapes}) > 1


def test_limits_by_hand(prompts):
    source = "Ja."
    length = len(prompts.tokenizer(source, add_special_tokens=False).input_ids)
    settings = config.Decoding(length_factor=1.5, length_offset=4, max_source_tokens=length)
    assert limits(prompts, [source, ""], settings) == [math.ceil(1.5 * length) + 4, 4]
    assert limits(prompts, [source, ""], config.Decoding(length_factor=0, length_offset=4)) == [4, 4]


def test_a_long_source_is_an_error_that_says_which(tiny_model, prompts):
    settings = config.Decoding(max_source_tokens=5)
    source = "Der Hund schläft unter dem Tisch."
    length = len(prompts.tokenizer(source, add_special_tokens=False).input_ids)
    with refused(2, length, 5, "decoding.max_source_tokens"):
        translate(tiny_model(), prompts, ["Ja", source], settings)


def test_no_sources_give_no_hypotheses(tiny_model, prompts):
    assert translate(tiny_model(), prompts, [], SETTINGS) == []


@pytest.mark.parametrize(
    "hypothesis, flags",
    [
        (Hypothesis("a b", False), []),
        (Hypothesis("", False), ["empty"]),
        (Hypothesis("a", True), ["truncated"]),
        (Hypothesis("", True), ["empty", "truncated"]),
    ],
)
def test_flags(hypothesis, flags):
    line = as_line("it.test.1", "it", hypothesis)
    assert line == {"id": "it.test.1", "domain": "it", "hypothesis": hypothesis.text, "flags": flags}


def shown(count, rows=("Katze", "Tier", "Haus", "Wind")):
    """Examples from short pairs."""
    listed = [Row(f"it.train.{i}", source, source.upper(), "it") for i, source in enumerate(rows)]
    return Examples(listed, config.Icl(method="icl", examples=count, retrieval="random"))


@SOME
def test_examples_stand_before_each_source(model, prompts, some):
    short = some[:4]
    found = translate(model, prompts, short, SETTINGS, "it", shown(2))
    examples = shown(2)
    assert found == [expected(model, prompts, s, SETTINGS, examples.of(s, "it")) for s in short]
    assert found != translate(model, prompts, short, SETTINGS)


def test_prompts_that_the_context_would_not_hold_have_fewer_examples(tiny_model, prompts, caplog):
    """The hypothesis needs room, too. The source is never cut; the examples farthest from it go first."""
    sources = ["Ja", "Der Hund schläft unter dem Tisch, den niemand mehr braucht.", "Katze"]
    examples, settings = shown(2), config.Decoding(length_factor=1, length_offset=6, batch_size=1)

    def needed(source, count):
        tokens = len(prompts.tokenizer(source, add_special_tokens=False).input_ids)
        pairs = examples.of(source, "it")
        return len(prompts.encode(source, examples=pairs[len(pairs) - count :])) + tokens + 6

    context = needed(sources[1], 1)
    assert needed(sources[0], 2) <= context < needed(sources[1], 2)
    model = tiny_model(max_position_embeddings=context)
    seen = []
    model.register_forward_pre_hook(lambda _, args, kwargs: seen.append(kwargs["input_ids"]), with_kwargs=True)
    with caplog.at_level(logging.INFO):
        translate(model, prompts, sources, settings, "it", examples)
    counts = {"Ja": 2, sources[1]: 1, "Katze": 2}
    wanted = [prompts.encode(s, examples=examples.of(s, "it")[2 - counts[s] :]).prompt for s in sources]
    read = [tuple(ids[0].tolist()) for ids in seen if ids.shape[1] > 1]
    assert sorted(read) == sorted(wanted)
    logged = [message for message in caplog.messages if "it" in message]
    assert [re.findall(r"\d+", message) for message in logged] == [["1", "3"], ["1"]]  # shortened, of all; left out
    model.config.max_position_embeddings = context - 1
    seen.clear()
    translate(model, prompts, sources[1:2], settings, "it", examples)
    assert tuple(seen[0][0].tolist()) == prompts.encode(sources[1]).prompt


def test_source_losses_are_the_witnesss(model, prompts, sources):
    prompts = Prompts(prompts.tokenizer, lambda domain: f"Translate: {domain}.")
    found, tokens = source_losses(model, prompts, sources, SETTINGS, "it")
    encoded = [prompts.encode_source(source, "it") for source in sources]
    with torch.no_grad():
        one_by_one = [float(naive.summed_loss(model, e.prompt, e.response)) for e in encoded]
    assert found == pytest.approx(one_by_one, rel=1e-4)
    assert tokens == sum(len(prompts.tokenizer(source, add_special_tokens=False).input_ids) for source in sources)


SEEN = ["it", "law", "medical"]


def with_adapters(model, seed=0):
    """The model with a different adapter per domain, and for each domain a copy of the model with its adapter alone."""
    generator = torch.Generator().manual_seed(seed)
    copies = {domain: copy.deepcopy(model) for domain in SEEN}
    adapters = Adapters(model, SEEN, 4)
    weights = {name: torch.randn(p.shape, generator=generator) for name, p in adapters.named_parameters().items()}
    for name, parameter in adapters.named_parameters().items():
        parameter.data = weights[name]
    for domain, alone in copies.items():
        own = Adapters(alone, [domain], 4)
        for name, parameter in own.named_parameters().items():
            parameter.data = weights[name]
        own.begin([domain])  # for the witness's passes, which have one row
    return SimpleNamespace(model=model, domains=adapters.domains, begin=adapters.begin), copies


@pytest.fixture
def rows(some):
    return [Row(f"koran.test.{i}", source, "") for i, source in enumerate(some[:4])]


@SOME
def test_a_seen_domain_uses_its_own_adapter(model, prompts, rows):
    tuned, alone = with_adapters(model)
    found = {domain: translations(tuned, prompts, rows, SETTINGS, domain) for domain in SEEN}
    for domain, lines in found.items():
        wanted = [expected(alone[domain], prompts, row.source, SETTINGS) for row in rows]
        assert lines == [as_line(row.id, domain, one) for row, one in zip(rows, wanted, strict=True)]
    assert len({tuple(line["hypothesis"] for line in lines) for lines in found.values()}) == 3


@SOME
def test_an_unseen_domain_is_translated_by_every_adapter_and_reported_by_source_loss(model, prompts, rows):
    tuned, alone = with_adapters(model)
    lines = translations(tuned, prompts, rows, SETTINGS, "koran")
    totals = dict.fromkeys(SEEN, 0.0)
    for row, line in zip(rows, lines, strict=True):
        by = {domain: expected(alone[domain], prompts, row.source, SETTINGS) for domain in SEEN}
        encoded = prompts.encode_source(row.source)
        with torch.no_grad():
            losses = {d: float(naive.summed_loss(alone[d], encoded.prompt, encoded.response)) for d in SEEN}
        totals = {domain: totals[domain] + losses[domain] for domain in SEEN}
        assert line["alternatives"] == {domain: one.text for domain, one in by.items()}
        assert line["source_loss"] == pytest.approx(losses, rel=1e-4)
        plain = {key: line[key] for key in ("id", "domain", "hypothesis", "flags")}
        assert plain == as_line(row.id, "koran", by[line["adapter"]])
    assert {line["adapter"] for line in lines} == {min(totals, key=totals.get)}


@SOME
def test_routed_by_source_loss_a_seen_domain_is_translated_like_an_unseen_one(model, prompts, rows):
    tuned, _ = with_adapters(model)
    unseen = translations(tuned, prompts, rows, SETTINGS, "koran", route="source_loss")
    assert unseen == translations(tuned, prompts, rows, SETTINGS, "koran") and "adapter" in unseen[0]
    for domain in SEEN:
        found = translations(tuned, prompts, rows, SETTINGS, domain, route="source_loss")
        assert found == [line | {"domain": domain} for line in unseen], "its own adapter has no advantage"


def test_the_lowest_loss_over_all_sources_chooses_and_ties_go_to_the_first(tiny_model, prompts, rows):
    """Adapters that do nothing are equal; then the last one gets weights until it is the best or the worst."""
    model = tiny_model()
    adapters = Adapters(model, SEEN, 4)
    tuned = SimpleNamespace(model=model, domains=adapters.domains, begin=adapters.begin)
    assert {line["adapter"] for line in translations(tuned, prompts, rows[:3], SETTINGS, "koran")} == {"it"}
    chosen = set()
    for seed in range(8):
        generator = torch.Generator().manual_seed(seed)
        for name, parameter in adapters.named_parameters().items():
            if name.startswith("medical"):
                parameter.data = torch.randn(parameter.shape, generator=generator)
        lines = translations(tuned, prompts, rows[:3], SETTINGS, "koran")
        sums = {domain: sum(line["source_loss"][domain] for line in lines) for domain in SEEN}
        (reported,) = {line["adapter"] for line in lines}
        assert sums[reported] == min(sums.values())
        chosen.add(reported)
    assert chosen == {"it", "medical"}


def test_lines_of_a_model_without_adapters_have_nothing_more(tiny_model, prompts, rows):
    model = tiny_model()
    tuned = SimpleNamespace(model=model, domains=(), begin=lambda domains: None)
    found = translate(model, prompts, [row.source for row in rows], SETTINGS, "koran")
    lines = [as_line(row.id, "koran", hypothesis) for row, hypothesis in zip(rows, found, strict=True)]
    assert translations(tuned, prompts, rows, SETTINGS, "koran") == lines


def test_lines_with_examples_are_those_of_their_translations(tiny_model, prompts, rows):
    model = tiny_model()
    tuned = SimpleNamespace(model=model, domains=(), begin=lambda domains: None)
    lines = translations(tuned, prompts, rows, SETTINGS, "it", shown(2))
    found = translate(model, prompts, [row.source for row in rows], SETTINGS, "it", shown(2))
    assert [line["hypothesis"] for line in lines] == [hypothesis.text for hypothesis in found]
    assert lines != translations(tuned, prompts, rows, SETTINGS, "it")
