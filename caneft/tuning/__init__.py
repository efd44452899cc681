"""Ways to make a model trainable, and the one loop that trains them all.

A way has `parameters()` (what the optimizer gets), `after_step()` (called after every optimizer step) and
`save(folder)`. Adding a method is one module here and an entry in `WAYS`.
"""
