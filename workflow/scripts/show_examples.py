"""Write the page of examples: source, reference and the outputs of several methods side by side."""

import argparse
from pathlib import Path

from caneft.plan import Plan
from caneft.reporting.examples import example_page
from caneft.reporting.reading import read_config
from caneft.runtime.cli import step
from caneft.storage.files import atomic_write


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", required=True, help="resolved configuration: JSON, or @FILE")
    parser.add_argument("--results", required=True, help="folder of the results (results_root)")
    parser.add_argument("--out", required=True, type=Path, help="the page, examples.html")
    return parser.parse_args()


@step
def main() -> None:
    args = parse_arguments()
    text = example_page(Plan(read_config(args.config)), args.results)
    with atomic_write(args.out) as beside:
        beside.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
