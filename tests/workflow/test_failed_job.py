"""If a job fails when it is made again, nothing made from its old results passes for new."""

REPORTS = {"tabulate", "plot", "show_examples", "overview"}
"""They read the results; a failed one leaves no table or figure, which Snakemake misses by itself."""


def named(job):
    return " ".join([job.rule.name, "/".join(job.wildcards)]).strip()


def test_what_any_job_leaves_is_missed(finished, tmp_path):
    """One job of each rule lacks its results, as after a failure: it is made again, and so are the tables."""
    copy = finished.copy(tmp_path / "copy")
    with copy.planned() as dag:
        made = {job.rule.name: (named(job), list(map(str, job.output))) for job in dag.jobs if job.output}
    tested = set(made) - REPORTS
    assert len(tested) > 15
    for rule in sorted(tested):
        job, files = made[rule]
        for file in files:
            if (copy.root / file).exists():
                (copy.root / file).rename(tmp_path / f"{files.index(file)}")
        planned = copy.plan()
        assert job in planned and "tabulate" in planned, job
        for number, file in enumerate(files):
            if (tmp_path / str(number)).exists():
                (tmp_path / str(number)).rename(copy.root / file)
    assert copy.plan() == set()
