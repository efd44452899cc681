"""CANEFT: consensus-aligned neuron fine-tuning for multi-domain machine translation.

    snakemake --cores all                                      the demo (config/config.yaml), to tables and figures
    snakemake --cores all --configfile config/opus.yaml        real corpora
    snakemake --cores all corpora | importance | selection | tables | figures | overview | fetch

Each file in rules/ begins with what its stage needs and leaves; docs/architecture.md is the map.
"""

import gc
from os.path import relpath

from snakemake.utils import min_version

min_version("9.27")

# A plan keeps all its objects, so rare garbage collection plans a grid of thousands of jobs a tenth faster.
gc.set_threshold(100_000, 20, 100)


# A configuration that names its own directions stands alone; anything less is laid over the demo.
if "directions" not in config:

    configfile: relpath(workflow.current_basedir.join("config/config.yaml").get_path_or_uri(secret_free=False))


include: "rules/common.smk"
include: "rules/limits.smk"
include: "rules/grouping.smk"
include: "rules/environments.smk"
include: "rules/corpora.smk"
include: "rules/models.smk"
include: "rules/importance.smk"
include: "rules/selection.smk"
include: "rules/tuning.smk"
include: "rules/translation.smk"
include: "rules/scoring.smk"
include: "rules/metrics.smk"
include: "rules/reporting.smk"
include: "rules/fetching.smk"
include: "rules/handlers.smk"


report: "workflow/report/workflow.rst"


localrules:
    all,
    corpora,
    importance,
    selection,
    tables,
    figures,
    fetch,


rule all:
    default_target: True
    input:
        rules.tables.input,
        rules.figures.input,
        rules.overview.output,
        rules.show_examples.output,


onstart:
    check_cluster()
    lift_rate()
    hold_results()
    store_configuration(finished.begin)
    print_power()


onsuccess:
    clear_kept()
    close_results()


onerror:
    cancel_left_jobs()
    say_why(log)
