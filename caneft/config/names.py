"""Names of files, columns and rows of the results, which no domain, direction or method can have."""

DEV, TEST = "dev", "test"
"""What a run translates: the test sets of all domains that it is tested on; of a trial, its mixture's dev pairs too."""
SAMPLES = "samples"
AVERAGES = AVERAGE_SEEN, AVERAGE_UNSEEN, AVERAGE_ALL = "average_seen", "average_unseen", "average_all"
"""Columns of tables that hold averages over domains."""
COPY = "copy"
"""Row under the main table: the source itself in place of an output."""
PRETRAINING, METRICS = "pretraining", "metrics"
"""Folders beside those of the directions, with the text that models and metrics are trained on."""

RESERVED_DOMAINS = {
    SAMPLES: "it names the file that says how many samples an importance dump needs",
    **dict.fromkeys(AVERAGES, "it names the column of an average over domains"),
}
RESERVED_DIRECTIONS = {
    PRETRAINING: "it names the folder of the text that models are pretrained on",
    METRICS: "it names the folder of the text that metrics are trained on",
}
RESERVED_METHODS = {COPY: "it names the row of the untranslated sources in the tables"}
"""Each with the reason."""
