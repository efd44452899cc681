"""Ways to make a model trainable, and the one loop that trains them all.

A way is a subclass of `base.TuningMethod`. `methods` leads from a configured method to its way, and from what a run
wrote to the tuned model; `running` is a run from files to files. A new method is one module here and its entries in
`methods`.
"""
