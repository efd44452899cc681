"""Ways to make a model trainable, and the one loop that trains them all.

A way is a subclass of `base.TuningMethod`. `methods` maps a configured method to its way, and a run's artefact to the
tuned model; `running` takes a run from files to files. A new method is one module here and its entries in `methods`.
"""
