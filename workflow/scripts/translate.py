"""Translate the test sets, or the dev pairs, of a run with the base model or what tuning made of it."""

import argparse
from pathlib import Path

from caneft.config import device_map
from caneft.corpora import store
from caneft.models import loading, manifests
from caneft.plan.settings import TranslationSettings
from caneft.prompts import Prompts
from caneft.runtime.cli import step
from caneft.runtime.devices import prepare
from caneft.storage import integrity, records
from caneft.storage.files import write_jsonl
from caneft.storage.kept import Kept
from caneft.translation import engines
from caneft.translation.progress import Progress, made_from
from caneft.translation.retrieval import Examples
from caneft.translation.vllm_engine import Place


@step
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--settings", type=TranslationSettings.model_validate_json, required=True)
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--adapted", type=Path, help="what the run left; without it the base itself translates")
    parser.add_argument("--domains", nargs="+", required=True)
    parser.add_argument(
        "--corpora", type=Path, nargs="+", required=True, help="test.jsonl of each domain; or one file for all"
    )
    parser.add_argument("--examples", type=Path, help="pairs to show in the prompt, for in-context learning")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--device-map", type=device_map, default="none", help="how to spread a model that one GPU does not hold"
    )
    parser.add_argument("--stage-version", type=int, default=1, help="an earlier file of another version is not kept")
    parser.add_argument(
        "--translations", type=Path, required=True, help=".jsonl; .cost.json stands beside; what still holds is kept"
    )
    args = parser.parse_args()
    cost = args.translations.with_suffix(".cost.json")
    record = args.adapted and args.adapted.with_name("record.json")  # it has the checksums of the artefact
    run = record if record and record.exists() else args.adapted
    kept = Kept(cost.parent, args.translations.stem, [args.manifest, run, args.examples, *args.corpora])
    if kept.take():
        return
    settings, testsets = args.settings, store.read_testset(args.domains, args.corpora)
    files = [args.manifest, run, args.examples, Path(__file__)]
    told = settings.model_dump_json(), args.stage_version
    progress = Progress(args.translations, {d: made_from(files, *told, rows) for d, rows in testsets.items()})
    if progress.restore():
        kept.save([args.translations, cost])
        return
    with records.cost(cost, "translation", args.threads, before=progress.before) as about:
        device = prepare(args.threads)
        manifest = manifests.read_manifest(args.manifest)
        prompts = Prompts.of(loading.load_tokenizer(manifest), settings.prompt)
        work = engines.Work(
            args.manifest,
            manifest,
            args.adapted,
            settings,
            prompts,
            {domain: testsets[domain] for domain in progress.missing},
            Examples(store.read(args.examples), settings.icl) if args.examples else None,
            Place(device, args.device_map, args.threads),
        )
        for domain, lines, engine in engines.translated(work) if progress.missing else ():
            progress.add(domain, lines, engine)
        write_jsonl(args.translations, progress.lines)
        about |= {"prompt": prompts.described(), **progress.about()}
        about[integrity.KEY] = integrity.sums(args.translations)
    progress.finish()
    kept.save([args.translations, cost])


if __name__ == "__main__":
    main()
