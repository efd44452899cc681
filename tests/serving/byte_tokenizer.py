"""Writes a `tokenizer.model` of bytes alone, for llama.cpp's converters: three special tokens and 256 bytes."""

import sys
from pathlib import Path

from sentencepiece import sentencepiece_model_pb2 as of_sentencepiece

KINDS = of_sentencepiece.ModelProto.SentencePiece
SPECIAL = {"<unk>": KINDS.UNKNOWN, "<s>": KINDS.CONTROL, "</s>": KINDS.CONTROL}

model = of_sentencepiece.ModelProto()
model.trainer_spec.model_type = of_sentencepiece.TrainerSpec.BPE  # the other type must contain words
model.trainer_spec.byte_fallback = True
for piece, kind in (SPECIAL | {f"<0x{byte:02X}>": KINDS.BYTE for byte in range(256)}).items():
    model.pieces.add(piece=piece, score=0.0, type=kind)
for folder in sys.argv[1:]:
    Path(folder, "tokenizer.model").write_bytes(model.SerializeToString())
    Path(folder, "tokenizer_config.json").write_text('{"tokenizer_class": "LlamaTokenizer"}', encoding="utf-8")
