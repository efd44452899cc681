"""Write the overview: overview.html for the report and for sending, summary.md for the terminal."""

import argparse
from pathlib import Path

from caneft.plan import Plan
from caneft.reporting import overview_page
from caneft.reporting.overview import gather
from caneft.reporting.reading import read_config
from caneft.runtime.cli import step
from caneft.storage.files import atomic_write


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", required=True, help="resolved configuration: JSON, or @FILE")
    parser.add_argument("--results", required=True, help="folder of the results (results_root)")
    parser.add_argument("--out", required=True, type=Path, help="folder of the overview")
    return parser.parse_args()


@step
def main() -> None:
    args = parse_arguments()
    overview = gather(Plan(read_config(args.config)), args.results)
    for name, text in (
        ("overview.html", overview_page.html(overview)),
        ("summary.md", overview_page.summary(overview)),
    ):
        with atomic_write(args.out / name) as beside:
            beside.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
