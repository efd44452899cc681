"""Downloads from the Hugging Face hub, with what went wrong said in a way that helps."""

from collections.abc import Sequence
from pathlib import Path

from caneft.errors import InputError


def snapshot(name: str, revision: str | None, patterns: Sequence[str], key: str, ignored: Sequence[str] = ()) -> Path:
    """Folder of a repository with the files of these patterns, downloaded unless they are cached.

    key: of the configuration, such as `models.*`, whose `hub` and `path` the messages speak of. Raises InputError if
    the repository is gated, is not there, or can neither be found in the cache nor downloaded.
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
