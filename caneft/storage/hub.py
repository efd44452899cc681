"""Downloads from the Hugging Face hub, with error messages that say what to do."""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from caneft.errors import InputError


def snapshot(name: str, revision: str | None, patterns: Sequence[str], key: str, ignored: Sequence[str] = ()) -> Path:
    """Folder of a repository with the files that match these patterns, downloaded unless cached.

    key: the part of the configuration, such as `models.*`, whose `hub` and `path` the messages name. Raises InputError
    if the repository is gated, does not exist, or can neither be found in the cache nor downloaded.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError

    named = f"{name} (revision {revision or 'main'})"
    try:
        found = snapshot_download(
            name, revision=revision, allow_patterns=list(patterns), ignore_patterns=list(ignored) or None
        )
    except GatedRepoError:
        raise InputError(
            f"{name} is gated: accept its licence on the hub, then log in with `hf auth login` or set HF_TOKEN"
        ) from None
    except (RepositoryNotFoundError, RevisionNotFoundError):
        raise InputError(
            f"{named} is not on the hub, or not for everyone to see. Check {key}.hub and revision; for a private"
            " repository log in with `hf auth login` or set HF_TOKEN"
        ) from None
    except (HfHubHTTPError, OSError) as error:
        raise InputError(
            f"{named} is neither in the cache nor can it be downloaded: {str(error).splitlines()[0]}\n"
            f"Run `snakemake fetch` where there is a network, or give {key}.path."
        ) from None
    return Path(found)


def located(manifest: Mapping[str, Any], file: Path, name: str, names: Iterable[str]) -> Path:
    """Folder of a manifest, checked to contain the files of these names; a name may be a whole path.

    file: the manifest. name: of the model or metric. Raises InputError for the first missing file, for example if a
    cache was emptied or is not the one that was filled. Does not look into the files.
    """
    folder = (file.parent / manifest["folder"]).resolve()
    missing = next((path for path in (folder, *(folder / name for name in names)) if not os.path.exists(path)), None)
    if missing is None:
        return folder
    if manifest.get("revision") is None:  # the user's folder, or one that the workflow made
        remedy = f"Put it back, or delete {file} and run the workflow again."
    else:
        remedy = (
            "It was downloaded into another cache (HF_HOME) than this job sees, or the cache was emptied.\n"
            f"Set HF_HOME to the cache that has it; or delete {file} and run `snakemake fetch` where there is a"
            " network. If the same files come, no finished job runs again."
        )
    raise InputError(f"{name} is not on this machine: {missing}, which its manifest names, is not there. {remedy}")
