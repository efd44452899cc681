"""Tokenizers with chat templates in the shapes of published models, small enough to spell by hand.

Written for the tests after such templates. Each character of a text is a token, or each byte.
"""

import re
from dataclasses import dataclass

LLAMA_2 = """\
{%- if messages[0]['role'] == 'system' -%}
    {%- set system = '<<SYS>>\\n' + messages[0]['content'] + '\\n<</SYS>>\\n\\n' -%}{%- set turns = messages[1:] -%}
{%- else -%}
    {%- set system = '' -%}{%- set turns = messages -%}
{%- endif -%}
{%- for turn in turns -%}
    {%- if turn['role'] == 'user' -%}
        {{- bos_token + '[INST] ' + (system if loop.first else '') + turn['content'].strip() + ' [/INST]' -}}
    {%- else -%}
        {{- ' ' + turn['content'].strip() + ' ' + eos_token -}}
    {%- endif -%}
{%- endfor -%}"""

QWEN_2_5 = """\
{%- if messages[0]['role'] != 'system' -%}
    {{- '<|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n' -}}
{%- endif -%}
{%- for turn in messages -%}
    {{- '<|im_start|>' + turn['role'] + '\\n' + turn['content'] + '<|im_end|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}"""

QWEN_3 = """\
{%- for turn in messages -%}
    {%- set answers = turn['role'] == 'assistant' -%}
    {%- set words = turn['content'].split('</think>')[-1].lstrip('\\n') if answers else turn['content'] -%}
    {%- set thought = '<think>\\n\\n</think>\\n\\n' if answers and loop.last else '' -%}
    {{- '<|im_start|>' + turn['role'] + '\\n' + thought + words + '<|im_end|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{- '<|im_start|>assistant\\n' -}}
    {%- if enable_thinking is defined and enable_thinking is false -%}{{- '<think>\\n\\n</think>\\n\\n' -}}{%- endif -%}
{%- endif -%}"""

# Only the generation prompt has the block.
QWEN_3_FORGETFUL = QWEN_3.replace("and loop.last else", "and false else")

GEMMA_2 = """\
{{- bos_token -}}
{%- if messages[0]['role'] == 'system' -%}{{- raise_exception('System role not supported') -}}{%- endif -%}
{%- for turn in messages -%}
    {%- set expected = ['user', 'assistant'][loop.index0 % 2] -%}
    {%- if turn['role'] != expected -%}{{- raise_exception('Roles must alternate') -}}{%- endif -%}
    {{- '<start_of_turn>' + ('model' if turn['role'] == 'assistant' else turn['role']) + '\\n' -}}
    {{- turn['content'] | trim + '<end_of_turn>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<start_of_turn>model\\n' -}}{%- endif -%}"""

MISTRAL = """\
{{- bos_token -}}
{%- for turn in messages -%}
    {%- if turn['role'] == 'user' -%}{{- '[INST] ' + turn['content'] + '[/INST]' -}}
    {%- else -%}{{- ' ' + turn['content'] + eos_token -}}{%- endif -%}
{%- endfor -%}"""

PHI_3 = """\
{%- for turn in messages -%}{{- '<|' + turn['role'] + '|>\\n' + turn['content'] + '<|end|>\\n' -}}{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|assistant|>\\n' -}}{%- else -%}{{- eos_token -}}{%- endif -%}"""

BYTES = [chr(byte) for byte in (*range(33, 127), *range(161, 173), *range(174, 256))]
BYTE_LEVEL = {ord(letter): letter for letter in BYTES}
BYTE_LEVEL |= {byte: chr(256 + place) for place, byte in enumerate(b for b in range(256) if b not in BYTE_LEVEL)}
"""How byte-level vocabularies write each byte: printable ones as themselves, the others from code point 256 on."""

CHARACTERS = [chr(code) for code in range(33, 127)] + list("äöüßÄÖÜ") + ["\n", "▁"]


@dataclass(frozen=True)
class Shape:
    """A template and the tokenizer for it.

    spaces: where a space is put before text: "chunks", after every special token (SentencePiece as in Llama 2);
    "first", only at the beginning of the whole text; "none"; "bytes", also none, and each byte is a token. special:
    tokens beside bos and eos.
    """

    template: str | None
    spaces: str
    bos: str | None
    eos: str
    special: tuple[str, ...] = ()

    def specials(self) -> list[str]:
        return [token for token in ("<pad>", "<unk>", self.bos, self.eos, *self.special) if token]

    def tokenizer(self):
        """A fast tokenizer without merges; a space is `▁`, or `Ġ` if tokens are bytes."""
        from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
        from transformers import PreTrainedTokenizerFast

        known = BYTE_LEVEL.values() if self.spaces == "bytes" else CHARACTERS
        vocabulary = {token: index for index, token in enumerate(dict.fromkeys([*self.specials(), *known]))}
        inner = Tokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token="<unk>"))
        inner.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.Fuse()])
        if self.spaces == "bytes":
            inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
            inner.decoder = decoders.ByteLevel()
        elif self.spaces == "chunks":
            inner.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
        else:
            scheme = "first" if self.spaces == "first" else "never"
            inner.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme, split=False)
        if self.bos:  # put before every text unless switched off
            begin = [(self.bos, vocabulary[self.bos])]
            inner.post_processor = processors.TemplateProcessing(single=f"{self.bos} $A", special_tokens=begin)
        inner.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in self.specials()])
        fast = PreTrainedTokenizerFast(
            tokenizer_object=inner,
            pad_token="<pad>",
            unk_token="<unk>",
            bos_token=self.bos,
            eos_token=self.eos,
            extra_special_tokens=list(self.special),
        )
        fast.chat_template = self.template
        return fast

    def spelt(self, text: str) -> list[str]:
        """Tokens of a text by hand: special tokens whole, everything else one by one."""
        parts = [part for part in re.split(f"({'|'.join(map(re.escape, self.specials()))})", text) if part]
        tokens = []
        for place, part in enumerate(parts):
            if part in self.specials():
                tokens.append(part)
                continue
            if self.spaces == "bytes":
                tokens += [BYTE_LEVEL[byte] for byte in part.encode()]
                continue
            prefix = " " if self.spaces == "chunks" or (self.spaces == "first" and place == 0) else ""
            tokens += (prefix + part).replace(" ", "▁")
        return tokens


SHAPES = {
    "llama-2": Shape(LLAMA_2, "chunks", "<s>", "</s>"),
    "qwen-2.5": Shape(QWEN_2_5, "bytes", None, "<|im_end|>", ("<|im_start|>", "<|endoftext|>")),
    "qwen-3": Shape(QWEN_3, "bytes", None, "<|im_end|>", ("<|im_start|>", "<|endoftext|>")),
    "qwen-3, forgetful": Shape(QWEN_3_FORGETFUL, "bytes", None, "<|im_end|>", ("<|im_start|>", "<|endoftext|>")),
    "gemma-2": Shape(GEMMA_2, "none", "<bos>", "<eos>", ("<start_of_turn>", "<end_of_turn>")),
    "mistral": Shape(MISTRAL, "first", "<s>", "</s>", ("[INST]", "[/INST]")),
    "phi-3": Shape(PHI_3, "chunks", "<s>", "<|endoftext|>", ("<|user|>", "<|assistant|>", "<|end|>")),
    "base, with bos": Shape(None, "chunks", "<s>", "</s>"),
    "gemma-3, base": Shape(None, "none", "<bos>", "<eos>", ("<start_of_turn>", "<end_of_turn>")),
    "base, without bos": Shape(None, "bytes", None, "<|endoftext|>"),
}
