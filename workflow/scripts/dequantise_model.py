"""Dequantise the weights of a GGUF file into an ordinary model folder, and write its manifest."""

import argparse
import os
from pathlib import Path

from caneft import config
from caneft.models import manifests, packages, quantised
from caneft.models.loading import DTYPES
from caneft.runtime.cli import step
from caneft.storage.files import write_json


@step
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--settings", type=config.Model.model_validate_json, required=True)
    parser.add_argument("--data-root", default=os.environ.get("CANEFT_DATA"), help="default: variable CANEFT_DATA")
    parser.add_argument("--manifest", type=Path, required=True, help="manifest.json; the model is written beside it")
    args = parser.parse_args()
    folder, settings = args.manifest.parent, args.settings
    files = packages.gguf_files(settings, config.resolver(args.data_root))
    architecture, about = quantised.dequantise(files, folder, DTYPES[settings.dtype])
    origin = {"id": Path(about["file"]).stem, "revision": None, "folder": ".", manifests.QUANTISED: about}
    write_json(args.manifest, manifests.describe(folder, origin, architecture))


if __name__ == "__main__":
    main()
