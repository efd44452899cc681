"""Score the translations of one test set of a run, or the sources as their own translations (--copy), by a model."""

import argparse
from pathlib import Path

from caneft.cli import step
from caneft.corpora import store
from caneft.files import write_json
from caneft.scoring import neural, surface


@step
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--metric", required=True)
    parser.add_argument("--about", nargs=4, metavar=("MODEL", "DIRECTION", "RUN", "TESTSET"), required=True)
    parser.add_argument("--domains", nargs="+", required=True)
    parser.add_argument("--corpora", type=Path, nargs="+", required=True, help="test.jsonl of each domain")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--translations", type=Path)
    what.add_argument("--copy", action="store_true", help="score the sources themselves")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--scores", type=Path, required=True)
    args = parser.parse_args()
    import torch  # late: --help without it

    torch.set_num_threads(args.threads)
    references = store.read_testset(args.domains, args.corpora)
    lines = surface.copies(references) if args.copy else surface.read_translations(args.translations, references)
    manifest = neural.read_manifest(args.manifest)
    model, signature = neural.load(manifest), neural.signature(manifest)
    domains = {}
    for domain, rows in references.items():
        hypotheses = [line["hypothesis"] for line in lines[domain]]
        gpus = int(torch.cuda.is_available())
        scores = neural.score(model, manifest, rows, hypotheses, args.batch_size, gpus)
        domains[domain] = {"score": sum(scores) / len(scores), "signature": signature, "segments": scores}
    about = dict(zip(("model", "direction", "run", "testset"), args.about, strict=True))
    write_json(args.scores, {"format": 1, **about, "metric": args.metric, "domains": domains})


if __name__ == "__main__":
    main()
