"""Names that the results use for files, columns and rows, so that no domain, direction or method may have them."""

DEV, TEST = "dev", "test"
"""Splits of a run: the test sets of all domains that it is tested on; for a trial, its mixture's dev pairs too."""
SAMPLES = "samples"
AVERAGES = AVERAGE_SEEN, AVERAGE_UNSEEN, AVERAGE_ALL = "average_seen", "average_unseen", "average_all"
"""Columns of tables that hold averages over domains."""
COPY = "copy"
"""Row under the main table that scores the sources themselves in place of outputs."""
PRETRAINING, METRICS = "pretraining", "metrics"
"""Folders next to those of the directions, with the text that models and metrics are trained on."""

RESERVED_DOMAINS = {
    SAMPLES: "it names the file that says how many samples an importance dump needs",
    **dict.fromkeys(AVERAGES, "it names the column of an average over domains"),
}
RESERVED_DIRECTIONS = {
    PRETRAINING: "it names the folder of the text that models are pretrained on",
    METRICS: "it names the folder of the text that metrics are trained on",
}
RESERVED_METHODS = {COPY: "it names the row of the untranslated sources in the tables"}
"""Reserved names, each with the reason."""
