"""Holds docs/incremental.md to its word: makes each change of its tables on the finished mini run, and plans.

Each row is compared twice: Snakemake's plan with the exact jobs listed here, and the page's rules and numbers with that
plan.
"""

import os
import re
import shutil
from collections import Counter
from pathlib import Path

import pytest
import yaml

from caneft.corpora import store
from tests.workflow import job_sets as jobs

PAGE = (Path(__file__).parents[2] / "docs/incremental.md").read_text(encoding="utf-8")
REPORTS = jobs.AGGREGATES - {"all"}
COMPARISONS = {"score_without_overlap", "test_significance", *REPORTS}
NAMED = re.findall(r"\*(all runs|new neurons)\* are ([^.;]+)", PAGE)
"""Names of several jobs, and the jobs, as the page says."""


def rows():
    """Change and jobs of every row in the page's tables, in order; `the same jobs` are those of the row before."""
    found, jobs_before = {}, ""
    for line in PAGE.splitlines():
        if line.startswith("| ") and not line.startswith("| change"):
            change, named, *_ = line.strip("| ").split(" | ")
            found[change] = jobs_before = jobs_before if named == "the same jobs" else named
    return found


def counted(cell):
    """Rules and numbers of jobs in a cell of the page; `reports` and `comparisons` mean several rules."""
    for name, named in NAMED:
        cell = cell.replace(name, named)
    found = Counter({rule: int(count or 1) for rule, count in re.findall(r"`(\w+)`(?: ×(\d+))?", cell)})
    return found + Counter(REPORTS if "reports" in cell else COMPARISONS if "comparisons" in cell else ())


# --- changes of files: each gets a copy of the finished workspace and a folder; returns a configuration or none ---


def edit_caption(copy, folder):
    with open(copy.root / "workflow/report/main.rst", "a") as caption:
        caption.write("\nOne more sentence.\n")


def edit_script(copy, folder):
    with open(copy.root / "workflow/scripts/select_neurons.py", "a") as script:
        script.write("# changed\n")


def edit_package(copy, folder):
    with open(copy.root / "caneft/selection/criteria.py", "a") as module:
        module.write("\nCHANGED = True\n")


def raise_stage_version(copy, folder):
    edit_package(copy, folder)
    rules = copy.root / "rules/selection.smk"
    before, rule, after = rules.read_text().partition("rule select_neurons:")
    assert "stage_version=1," in after
    rules.write_text(before + rule + after.replace("stage_version=1,", "stage_version=2,", 1))


def edit_pins(copy, folder):
    pins = copy.root / "envs/report.yaml"
    assert "==" in pins.read_text()
    pins.write_text(re.sub(r"==(\d+)", r"==9\1", pins.read_text()))


def touch_all(copy, folder):
    touched = [file for place in ("workflow", "out/mini") for file in (copy.root / place).rglob("*") if file.is_file()]
    assert len(touched) > 100
    for file in touched:
        os.utime(file)


def touch_raw(copy, folder):
    os.utime(folder / "law.train.jsonl")


def change_raw(copy, folder):
    pairs = store.read(folder / "law.train.jsonl")
    store.write(folder / "law.train.jsonl", [*pairs[:-1], pairs[-1]._replace(target="something else.")])


def move_raw(copy, folder):
    moved = folder.with_name("moved")
    folder.rename(moved)
    return law_in(copy, moved)


def link_raw(copy, folder):
    moved = folder.with_name("moved")
    folder.rename(moved)
    folder.symlink_to(moved)


def law_in(copy, folder):
    """The configuration with the raw corpus of law in files in a folder."""

    def edit(config):
        law = {split: {"format": "jsonl", "path": f"law.{split}.jsonl"} for split in ("train", "dev", "test")}
        config["directions"]["de-en"]["domains"]["law"] = law
        config["data_root"] = str(folder)

    return copy.configuration(edit)


def copy_results(copy, folder):
    shutil.copytree(copy.results, copy.root / "elsewhere")
    shutil.rmtree(copy.results)
    return copy.configuration() | {"results_root": "elsewhere"}


def delete_score(copy, folder):
    (copy.results / LOST).unlink()


def delete_dump(copy, folder):
    (copy.results / f"importance/{jobs.M}/law.npy").unlink()


LOST = f"runs/{jobs.M}/all/caneft/seed1/scores/test.json"
OF_CONFIGURATION = {
    "A seen domain is added to a mixture": (jobs.grow_mixture, jobs.GROWN_MIXTURE),
    "A seen domain, in a mixture of a new name": (jobs.add_mixture, jobs.NEW_MIXTURE),
    "A seen domain that is in no mixture": (jobs.add_unused, jobs.AGGREGATES),
    "An unseen domain": (jobs.add_unseen, jobs.UNSEEN),
    "An unseen domain is removed": (jobs.remove_unseen, jobs.REMOVED),
    "The order of the domains of a mixture": (jobs.change_order, jobs.AGGREGATES),
    "A model": (jobs.add_model, jobs.NEW_MODEL),
    "A method": (jobs.add_method, jobs.NEW_METHOD),
    "A method with a grid of two learning rates": (jobs.add_grid, jobs.NEW_GRID),
    "A seed": (jobs.add_seed, jobs.SECOND_SEED),
    "One more learning rate in a grid": (jobs.add_rate, {*jobs.tried("0.02"), *jobs.LORA}),
    "One learning rate instead of a grid": (jobs.fix_rate, jobs.LORA),
    "`trials.test_sets: false`": (jobs.leave_trials_untested, jobs.AGGREGATES),
    "The learning rate of a method": (
        jobs.change_rate,
        {*jobs.tuned("caneft"), *jobs.all_evaluated(["caneft"]), *jobs.apart(), *jobs.AGGREGATES},
    ),
    "`selection.fraction`": (jobs.change_fraction, {f"measure_stability {jobs.M}/all", *jobs.NEW_NEURONS}),
    "`selection.gamma` instead of `fraction`": (
        jobs.change_gamma,
        {f"measure_stability {jobs.M}/all", *jobs.NEW_NEURONS},
    ),
    "`selection.task_relevant_scope`": (jobs.change_scope, {f"measure_stability {jobs.M}/all", *jobs.NEW_NEURONS}),
    "`selection.bins`": (
        jobs.change_bins,
        {*jobs.measured(), f"measure_stability {jobs.M}/all", *jobs.NEW_NEURONS, *jobs.NEW_HEADS},
    ),
    "`selection.stability_splits`": (jobs.change_splits, {f"measure_stability {jobs.M}/all", *jobs.AGGREGATES}),
    "The criterion of a variant": (jobs.change_criterion, jobs.NEW_NEURONS),
    "`importance.samples`": (jobs.change_samples, jobs.DUMPED_AGAIN),
    "`importance.draws: per_seed`": (jobs.draw_per_seed, jobs.DRAWN_PER_SEED),
    "`tuning.epochs`": (jobs.change_epochs, jobs.TUNED_AGAIN),
    "`prompt.instruction`": (jobs.change_prompt, jobs.PROMPTED),
    "`prompt.completion`": (jobs.change_completion, jobs.AGGREGATES),
    "`decoding.length_offset`": (jobs.change_decoding, jobs.DECODED),
    "`merged` of a LoRA": (jobs.merge_lora, jobs.MERGED),
    "`route` of `adapters`": (jobs.route_adapters, jobs.ROUTED),
    "A metric": (jobs.add_metric, jobs.NEW_SCORES),
    "Another metric that judges learning rates": (jobs.change_judge, jobs.NEW_JUDGE),
    "A neural metric": (jobs.add_comet, jobs.NEURAL),
    "`significance.alpha`": (jobs.change_alpha, jobs.AGGREGATES),
    "`significance.baseline`": (jobs.change_baseline, {f"test_significance {jobs.M}/all", *jobs.AGGREGATES}),
    "`report.title`": (jobs.change_title, jobs.AGGREGATES),
    "A label": (jobs.change_label, jobs.AGGREGATES),
    "`resources.mem_mb`, `runtime`": (jobs.change_resources, set()),
    "`resources.gpu`": (jobs.change_gpu, set()),
    "`resources.threads` of a method": (jobs.change_threads, set()),
}
SELECTED_ANEW = jobs.NEW_NEURONS | jobs.NEW_HEADS
OF_FILES = {
    "A caption of the report is edited": (edit_caption, {"overview", "all"}),
    "A script is edited": (edit_script, SELECTED_ANEW),
    "The package is edited": (edit_package, set()),
    "The package is edited and `stage_version` raised": (raise_stage_version, SELECTED_ANEW),
    "A pin of an environment, without `--use-conda`": (edit_pins, set()),
    "`touch` of all scripts and results": (touch_all, set()),
    "The results folder is copied elsewhere": (copy_results, set()),
    "A score is deleted": (delete_score, {f"score {jobs.M}/all/caneft/seed1", *jobs.AGGREGATES} - {"show_examples"}),
    "An importance dump is deleted": (delete_dump, set()),
}


OF_RAW_FILES = {
    "`touch` of a raw corpus file": (touch_raw, set()),
    "A raw corpus file has other text": (change_raw, jobs.CHANGED_LAW),
    "`data_root` is moved": (move_raw, jobs.CHANGED_LAW),
    "`data_root` is moved, with a link at the old place": (link_raw, set()),
}


ONE_MORE_DRAW = "A seed, with `importance.draws: per_seed`"


def test_the_page_and_the_tests_have_the_same_rows():
    assert sorted(rows()) == sorted([*OF_CONFIGURATION, *OF_FILES, *OF_RAW_FILES, ONE_MORE_DRAW])


def held(change, planned, expected):
    assert planned == expected
    assert counted(rows()[change]) == Counter(job.split()[0] for job in planned if job != "all")


def test_without_a_change_nothing_runs(finished):
    assert finished.plan() == set()


@pytest.mark.parametrize("change", OF_CONFIGURATION)
def test_a_change_of_the_configuration_runs_what_the_page_says(finished, change):
    edit, expected = OF_CONFIGURATION[change]
    # The environment of neural metrics belongs to the machine, and may exist already.
    held(change, finished.plan(finished.configuration(edit)) - {"build_environment comet"}, expected)


def test_a_seed_with_a_draw_of_its_own_runs_what_the_page_says(finished):
    """On results of one such seed. Jobs that these need are left out, except those that read the runs of all seeds."""
    one, both = (finished.plan(finished.configuration(edit)) for edit in (jobs.draw_per_seed, jobs.draw_for_two_seeds))
    assert one < both
    held(ONE_MORE_DRAW, both - one | jobs.apart() | REPORTS | {"all"}, jobs.SECOND_DRAW)


@pytest.mark.parametrize("change", OF_FILES)
def test_a_change_of_files_runs_what_the_page_says(finished, tmp_path, change):
    edit, expected = OF_FILES[change]
    copy = finished.copy(tmp_path / "copy")
    held(change, copy.plan(edit(copy, tmp_path / "raw")), expected)


@pytest.fixture(scope="module")
def made_from_files(finished, tmp_path_factory):
    """A copy, and a folder with files that count as the source of its corpus law."""
    folder = tmp_path_factory.mktemp("law")
    copy = finished.copy(folder / "copy")
    shutil.copytree(copy.results / "corpora/de-en/law", folder / "raw")
    for file in (folder / "raw").iterdir():
        file.rename(file.with_name(f"law.{file.name}"))
    (copy.root / "files.yaml").write_text(yaml.safe_dump(law_in(copy, folder / "raw"), sort_keys=False))
    touched = copy.snakemake_here("--touch", "--no-hooks", config="files.yaml")  # the hooks would make the report
    assert touched.returncode == 0, touched.stdout
    assert copy.plan(law_in(copy, folder / "raw")) == set()
    return copy, folder


@pytest.fixture
def raw(made_from_files):
    """That copy and the folder of raw files, which is restored at the end."""
    copy, folder = made_from_files
    shutil.copytree(folder / "raw", folder / "kept")
    yield copy, folder / "raw"
    for place in (folder / "raw", folder / "moved"):
        place.unlink() if place.is_symlink() else shutil.rmtree(place, ignore_errors=True)
    (folder / "kept").rename(folder / "raw")


@pytest.mark.parametrize("change", OF_RAW_FILES)
def test_a_change_of_raw_files_runs_what_the_page_says(raw, change):
    edit, expected = OF_RAW_FILES[change]
    copy, folder = raw
    held(change, copy.plan(edit(copy, folder) or law_in(copy, folder)), expected)


def content(results):
    """Bytes of all files except those with times (report, benchmarks) and logs."""
    timed = ("logs/", "benchmarks/", "report.html")
    files = {str(path.relative_to(results)): path for path in results.rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in files.items() if not name.startswith(timed)}


@pytest.mark.slow
def test_what_a_deleted_score_makes_anew_has_the_same_bytes(finished, tmp_path):
    """Runs only the steps for scores, tests and tables, because figures take seconds."""
    copy = finished.copy(tmp_path)
    commands = copy.commands()
    for name in (LOST, f"significance/{jobs.M}/all.json", "tables/main.html"):
        (copy.results / name).unlink()
        done = copy.step_here(commands[f"out/mini/{name}"])
        assert done.returncode == 0, done.stdout
    assert content(copy.results) == content(finished.results)


@pytest.mark.slow
def test_a_deleted_score_comes_again_and_every_byte_is_as_before(finished, tmp_path):
    copy = finished.copy(tmp_path)
    delete_score(copy, tmp_path)
    done = copy.snakemake("--cores", "2", forked=True)
    assert done.returncode == 0, done.stdout[-5000:]
    before = {path.relative_to(finished.results): path.stat().st_mtime_ns for path in finished.results.rglob("*.json")}
    now = {path.relative_to(copy.results): path.stat().st_mtime_ns for path in copy.results.rglob("*.json")}
    assert {str(path) for path in now if now[path] != before[path]} == {LOST}
    assert content(copy.results) == content(finished.results)
