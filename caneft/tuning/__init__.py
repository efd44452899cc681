"""Ways to make a model trainable, and the one loop that trains them all.

A way is a subclass of `way.Way`. `ways` leads from a configured method to its way, and from what a run left to the
tuned model; `running` is a run from files to files. Adding a method is one module here and its entries in `ways`.
"""
