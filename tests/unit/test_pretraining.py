"""The pretraining text of a base that is made here."""

from caneft.corpora.store import Row
from caneft.plan.settings import PromptSettings
from caneft.prompts import Prompts
from caneft.tuning.pretraining import encode


def test_pairs_stand_in_order_and_each_direction_has_its_own_prompt(tokenizer):
    """This also holds if one direction asks and the other gives a text to complete."""
    asked = PromptSettings(instruction="To {target_language}:", source_language="German", target_language="English")
    completed = asked.model_copy(update={"source_language": "Chinese", "form": "completion"})
    prompts = {"zh-en": Prompts.of(tokenizer, completed), "de-en": Prompts.of(tokenizer, asked)}
    rows = [
        Row("1", "Ja.", "Yes.", "de-en"),
        Row("2", "Hund", "dog", "zh-en"),
        Row("3", "Katze " * 40, "cat", "de-en"),
        Row("4", "Nein.", "No.", "de-en"),
    ]
    examples = encode(rows, prompts, 80)
    assert [tokenizer.decode(example.prompt + example.response) for example in examples] == [
        "<bos><|user|>To English:\nJa.<|end|><|assistant|>Yes.<|end|>",
        "<bos>Chinese: Hund\nEnglish: dog\n",
        "<bos><|user|>To English:\nNein.<|end|><|assistant|>No.<|end|>",
    ]
