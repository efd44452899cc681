"""Published test sets that sacreBLEU knows and downloads, such as wmt22."""

from collections.abc import Iterator
from pathlib import Path

from caneft.config import SacreBleu
from caneft.corpora.readers import moses
from caneft.corpora.readers.pair import Pair, Resolve
from caneft.errors import InputError, did_you_mean


def read(source: SacreBleu, split: str, resolve: Resolve) -> Iterator[Pair]:
    """Pairs by line. Of several references that sacreBLEU scores with, the first by name is used (`A` before `B`)."""
    yield from moses.aligned(*_files(source.name, source.langpair))


def _files(name: str, langpair: str) -> tuple[Path, Path]:
    """Files of the source and of the reference, downloaded unless they are in sacreBLEU's cache."""
    from sacrebleu.dataset import DATASETS  # imported late: other formats do not need it
    from sacrebleu.utils import SACREBLEU_DIR

    if name not in DATASETS:
        raise InputError(f"sacrebleu has no test set '{name}'. {did_you_mean(name, DATASETS)}")
    dataset = DATASETS[name]
    if langpair not in dataset.langpairs:
        raise InputError(f"test set {name}: no language pair '{langpair}'. {did_you_mean(langpair, dataset.langpairs)}")
    try:
        source, references = dataset.get_source_file(langpair), dataset.get_reference_files(langpair)
    except (Exception, SystemExit) as error:  # of networks and archives; it exits if a checksum is wrong
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise InputError(
            f"test set {name} ({langpair}): cannot be downloaded: {reason}\n"
            f"Without network run `sacrebleu -t {name} -l {langpair} --echo src` elsewhere and copy the folder {name}"
            f" from its cache to {SACREBLEU_DIR} (the variable SACREBLEU moves it). Delete there what came broken."
        ) from error
    if not references:
        raise InputError(f"test set {name} ({langpair}): has no reference. Take another one, such as {name[:5]}.")
    return Path(source), Path(min(references))  # their order in the list is that of a set, so it varies
