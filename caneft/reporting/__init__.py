"""Tables and figures, made only from run records, scores, costs and neuron sets.

Frames have the same names everywhere: `scores`, `records`, `costs`, `trials` and `decoded` are those of `results`,
`main` is that of `tables.main_table`, and `table`, where tables are printed, is the frame that the same module makes.
"""
