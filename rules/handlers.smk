"""What happens before the first job, after the last one and after a failure; and what the screen shows in between."""

from snakemake.logging import logger

from caneft.commands import finished
from caneft.commands.jobs import Jobs
from caneft.reporting import power
from caneft.runtime import holding, machine, slurm
from caneft.runtime.screen import Screen
from caneft.storage.files import atomic_write
from caneft.storage.kept import clear


def reasons():
    """Rule of each job that will run, and Snakemake's names of its reasons."""
    for job in workflow.dag.needrun_jobs():
        yield job.rule.name, workflow.dag.reason(job).get_names()


def known_rules(name):
    """Rules that the command line may name instead of `name`; any rule after --until and --omit-from."""
    bounds = workflow.dag_settings.until | workflow.dag_settings.omit_from
    return [rule.name for rule in workflow.rules if name in bounds or not rule.has_wildcards()]


SCREEN = Screen(
    targets=known_rules,
    reasons=reasons,
    quiet=[choice.name.lower() for choice in workflow.output_settings.quiet or ()],
    dry=workflow.output_settings.dryrun,
    commands=workflow.output_settings.printshellcmds,
)
if workflow.exec_mode == workflow.exec_mode.DEFAULT:
    SCREEN.attach(logger)


def warn_of_copied_results():
    """Warns if Snakemake has no notes on existing results, before it makes them again."""
    if workflow.exec_mode != workflow.exec_mode.DEFAULT:
        return
    made = next((path for path in inputs.table_inputs(PLAN) if root(path).exists()), None)
    notes = Jobs(root(), CONFIG.results_root)
    if made and root("config.yaml").exists() and notes.of(notes.known_as(made)) is None:
        take = f"snakemake --cores 1 --touch --forceall --configfile {shlex.quote(str(root('config.yaml')))}"
        logger.warning(
            f"{root()} has results, but .snakemake here has no notes on them, as after a copy. So Snakemake goes by"
            f" time stamps and may make them again. Copy the folder .snakemake as well, or take them as they are: {take}"
        )
    if made and CONFIG.scoring.neural and COMET_ENVIRONMENT and not Path(COMET_ENVIRONMENT).exists():
        metric = next(iter(CONFIG.scoring.neural))
        if any(root("scores/copy", direction, "neural", f"{metric}.json").exists() for direction in CONFIG.directions):
            logger.warning(
                f"The environment of neural metrics is not on this machine, but scores by {metric} are. Run `snakemake"
                " fetch` first: if a job has to build it, all of these scores are made again."
            )


warn_of_copied_results()


def check_cluster():
    """Under --profile slurm: one message, before anything is submitted, if the cluster cannot run the jobs."""
    if workflow.executor_plugin.name != "slurm":
        return
    see_cancelled_jobs()
    keep_words_of_groups()
    forget_forced()
    jobs = [job for job in workflow.dag.needrun_jobs() if not job.is_local]
    submitted = {id(found): found for found in (workflow.dag.get_job_group(job) or job for job in jobs)}
    longest = max(submitted.values(), key=lambda found: found.resources.get("runtime", 0), default=None)
    earlier = root("logs", "slurm_run")
    try:
        slurm.check([(job.rule.name, job.resources) for job in jobs], workflow.executor_settings.status_command)
        if longest is not None:
            slurm.check_time(longest.name, longest.resources.get("runtime", 0))
            widest = max(submitted.values(), key=lambda found: found.resources.get("nodes", 1))
            slurm.check_nodes(widest.name, widest.resources.get("nodes", 1))
        if earlier.exists():
            slurm.wait_for_earlier(earlier.read_text())
    except InputError as error:
        raise WorkflowError(str(error))
    with atomic_write(earlier) as beside:
        beside.write_text(workflow.scheduler._executor.run_uuid)


def see_cancelled_jobs():
    """Cuts sacct's `CANCELLED by 1000` to one word; otherwise the executor takes such a job for running forever."""
    import snakemake_executor_plugin_slurm as plugin

    # Not part of the plugin's interface: another version may do without.
    ask = getattr(plugin, "query_job_status", None)
    if ask is None or getattr(ask, "first_words", False):
        return

    async def first_words(*arguments):
        states, *others = await ask(*arguments)
        return (states and {job: state.partition(" ")[0] for job, state in states.items()}, *others)

    first_words.first_words = True
    plugin.query_job_status = first_words


def keep_words_of_groups():
    """Passes on to the screen why a group failed, such as sbatch's words, which Snakemake drops."""
    from snakemake.jobs import GroupJob

    tell = getattr(GroupJob, "log_error", None)  # not part of Snakemake's interface
    if tell is None or getattr(tell, "keeps_words", False):
        return

    def log_error(self, msg=None, aux_logs=None, **more):
        return tell(self, msg, aux_logs, said=msg, **more)

    log_error.keeps_words = True
    GroupJob.log_error = log_error


def cancel_left_jobs():
    """After Ctrl-C, cancels jobs that the executor leaves running: it forgets those that it just asks sacct about."""
    if workflow.executor_plugin.name != "slurm":
        return
    try:
        slurm.cancel(workflow.scheduler._executor.run_uuid)
    except (InputError, AttributeError) as error:
        print(f"Check with squeue whether jobs are left: {error}")


def hold_results():
    """Ends the run if another Snakemake, or jobs left by one, work on these results.

    Also ends it if the folder cannot be written; Snakemake would print a traceback.
    """
    try:
        holding.hold(root("logs"), root(), local=workflow.executor_plugin.name == "local")
        machine.check_writable(file for job in workflow.dag.needrun_jobs() for file in job.output)
    except InputError as error:
        raise WorkflowError(str(error))
    except OSError as error:
        raise WorkflowError(machine.in_words(error) or str(error))


def store_configuration(store):
    """Writes the merged configuration beside the results, in full: what was run, and what the report is made from.

    store: `finished.begin` or `finished.settle`.
    """
    content = CONFIG.model_dump(mode="json", exclude_unset=True) | {
        "data_root": str(configuration.data_root(CONFIG) or "") or None
    }
    try:
        store(root(), content)
    except OSError as error:
        raise WorkflowError(machine.in_words(error) or str(error))


def close_results():
    """After a run that reached the tables, makes its configuration theirs; after a whole one, makes the report."""
    reached = {job.rule.name for job in workflow.dag.jobs}
    if "tabulate" in reached:
        store_configuration(finished.settle)
    if reached >= {"tabulate", "plot", "show_examples", "overview"}:
        write_report()


def write_report():
    """Makes report.html from the finished run, unless it is up to date.

    Then prints the summary and where everything is.
    """
    page, summary = root("report.html"), root("summary.md")
    parts = [summary, root("tables", "main.csv"), root("figures", "scores.svg")]
    if not all(part.exists() for part in parts):
        return
    if not page.exists() or max(part.stat().st_mtime for part in parts) > page.stat().st_mtime:
        command = ["snakemake", "--snakefile", str(HOME / "Snakefile"), "--report", str(page), "--nolock", "--quiet"]
        command += ["--configfile", str(root("config.yaml"))]
        command += ["--report-stylesheet", here("workflow/report/page.css")]
        command += ["--report-metadata", here("workflow/report/opening.yaml")]
        done = subprocess.run([sys.executable, "-m", *command], capture_output=True, text=True)
        if done.returncode != 0:
            print(done.stdout + done.stderr, f"The report was not made. By hand: {shlex.join(command)}", sep="\n")
    print(f"\n{summary.read_text(encoding='utf-8')}\ntables   {root('tables')}/\nfigures  {root('figures')}/")
    print(f"overview {root('overview.html')}   all of it in one page, to send\nreport   {page}\n")


def clear_kept():
    """After a complete run, removes what steps kept for a second try under Slurm."""
    if root("logs", "slurm_run").exists() and any(job.rule.name == "all" for job in workflow.dag.targetjobs):
        clear(root("runs"))


def forget_forced():
    """Removes what was kept of jobs that `--forcerun` or a similar option repeats."""
    for job in workflow.dag.needrun_jobs():
        if workflow.dag.reason(job).forced and job.output:
            clear(Path(job.output[0]).parent)


def print_power():
    """Prints, before hours of computing, the smallest difference that each block's tests can find."""
    for block in PLAN.shown_blocks():
        if said := power.sentence(PLAN, block):
            print(f"{', '.join(block)}: {said}", flush=True)  # before the messages about jobs, which are not buffered


def say_why(log):
    """After a failure, prints where the logs are and, last of all, why."""
    full = machine.out_of_room(root())  # logs are on the same disk, and may be empty
    SCREEN.close_with_reasons(
        [
            *([f"Error: {full}"] if full else []),
            "This run ended early. The same command continues it; finished files are kept.",
            f"Logs of all jobs:  {root('logs')}/",
            *(f"Log of this run:   {os.path.relpath(path)}" for path in log),
        ]
    )
