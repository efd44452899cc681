"""Trains a small COMET, with unbabel-comet's own model and loss, on corrupted references.

Runs in COMET's environment. The small model replaces a real one where no checkpoint is available, and comes with its
quality: the correlation of its scores with the level of corruption, on pairs that it was not trained on.
"""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from caneft.config.metrics import MetricTraining
from caneft.scoring.corruptions import ScoredPair
from caneft.scoring.neural import OWN_ENCODER, stand_alone

POSITIONS, LAYERS, HEADS = 130, 2, 4


def train(settings: MetricTraining, pairs: Sequence[ScoredPair], folder: Path, threads: int) -> None:
    """Writes `hparams.yaml`, `checkpoints/model.ckpt` and `encoder/` to `folder`; equal input gives equal weights."""
    import pytorch_lightning
    import torch
    import yaml
    from comet.models import RegressionMetric

    torch.set_num_threads(threads)
    stand_alone()
    pytorch_lightning.seed_everything(settings.seed)
    _make_encoder(settings, [text for pair in pairs for text in pair[:3]], folder / OWN_ENCODER)
    table = str(folder / "pairs.csv")
    _write_csv(table, pairs)
    model = RegressionMetric(
        nr_frozen_epochs=0,
        keep_embeddings_frozen=False,
        encoder_learning_rate=settings.learning_rate,
        learning_rate=settings.learning_rate,
        layerwise_decay=1.0,
        pretrained_model=str(folder / OWN_ENCODER),
        hidden_sizes=[2 * settings.hidden_size],
        final_activation="Sigmoid",  # levels of corruption are between 0 and 1
        batch_size=settings.batch_size,
        train_data=[table],
        validation_data=[table],
        load_pretrained_weights=False,
        local_files_only=True,
    )
    trainer = pytorch_lightning.Trainer(
        max_epochs=settings.epochs,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        limit_val_batches=0,
        num_sanity_val_steps=0,
        default_root_dir=str(folder),
    )
    trainer.fit(model)
    Path(table).unlink()
    model.hparams.update(pretrained_model=OWN_ENCODER, train_data=[], validation_data=[])  # no path of this machine
    (folder / "checkpoints").mkdir(exist_ok=True)
    trainer.save_checkpoint(folder / "checkpoints" / "model.ckpt", weights_only=True)
    hparams = {"class_identifier": "regression_metric", "pretrained_model": OWN_ENCODER, "encoder_model": "XLM-RoBERTa"}
    (folder / "hparams.yaml").write_text(yaml.safe_dump(hparams), encoding="utf-8")


def _make_encoder(settings: MetricTraining, texts: Sequence[str], folder: Path) -> None:
    """Writes a unigram tokenizer of the texts, and the configuration of a small XLM-R."""
    import sentencepiece
    from transformers import XLMRobertaConfig, XLMRobertaTokenizerFast

    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts),
        model_writer=written,
        vocab_size=settings.vocabulary,
        model_type="unigram",
        hard_vocab_limit=False,
        character_coverage=1.0,
        num_threads=1,
        minloglevel=2,
    )
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = folder / "sentencepiece.bpe.model"
    vocabulary.write_bytes(written.getvalue())
    tokenizer = XLMRobertaTokenizerFast(vocab_file=str(vocabulary), model_max_length=POSITIONS - 2)
    tokenizer.save_pretrained(folder)
    XLMRobertaConfig(
        vocab_size=len(tokenizer),
        hidden_size=settings.hidden_size,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        intermediate_size=2 * settings.hidden_size,
        max_position_embeddings=POSITIONS,
        type_vocab_size=1,
    ).save_pretrained(folder)


def _write_csv(path: str, pairs: Sequence[ScoredPair]) -> None:
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["src", "mt", "ref", "score"])
        writer.writerows(pairs)


def correlations(scores: Sequence[float], pairs: Sequence[ScoredPair]) -> dict[str, Any]:
    """Pearson and Spearman correlation of scores with the share of intact words, and the same for sentence chrF2."""
    from sacrebleu import sentence_chrf
    from scipy import stats

    truth = [pair.score for pair in pairs]
    surface = [sentence_chrf(pair.hypothesis, [pair.reference]).score for pair in pairs]
    found: dict[str, Any] = {"held_out": len(pairs)}
    for name, values in (("comet", scores), ("chrf", surface)):
        found[name] = {
            "pearson": round(float(stats.pearsonr(values, truth).statistic), 4),
            "spearman": round(float(stats.spearmanr(values, truth).statistic), 4),
        }
    return found
