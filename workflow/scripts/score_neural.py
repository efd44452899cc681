"""Score all test sets of a run, or the sources as their own translations (--copy), by a neural metric."""

import argparse
from pathlib import Path

from caneft.corpora import store
from caneft.errors import InputError
from caneft.runtime.cli import step
from caneft.scoring import neural, translated
from caneft.storage.files import hidden, link_or_copy, write_json


@step
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--metric", required=True)
    parser.add_argument("--about", nargs=3, metavar=("MODEL", "DIRECTION", "RUN"), required=True)
    parser.add_argument("--domains", nargs="+", required=True)
    parser.add_argument("--corpora", type=Path, nargs="+", required=True, help="test.jsonl of each domain, in order")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--translations", type=Path)
    what.add_argument("--copy", action="store_true", help="score the sources themselves")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--stage-version", type=int, default=1, help="an earlier file of another version is not kept")
    parser.add_argument("--scores", type=Path, required=True, help="what still holds of an earlier file is kept")
    args = parser.parse_args()
    kept = hidden(args.scores)
    import torch  # here, so that --help does not need it

    torch.set_num_threads(args.threads)
    references = store.read_testset(args.domains, args.corpora)
    lines = translated.copies(references) if args.copy else translated.read(args.translations, references)
    hypotheses = {domain: [line["hypothesis"] for line in lines[domain]] for domain in args.domains}
    manifest = neural.read_manifest(args.manifest)
    stored = _stored(kept)
    found = neural.score_domains(stored, references, hypotheses, manifest, args.batch_size, args.stage_version)
    about = dict(zip(("model", "direction", "run"), args.about, strict=True))
    write_json(args.scores, {"format": 1, **about, "metric": args.metric, "domains": found})
    link_or_copy(args.scores, kept)


def _stored(path: Path) -> dict:
    """Scores by domain from an earlier file; none if it is missing or cannot be read."""
    try:
        return dict(store.read_json(path)["domains"])
    except (OSError, InputError, KeyError, TypeError, ValueError):
        return {}


if __name__ == "__main__":
    main()
