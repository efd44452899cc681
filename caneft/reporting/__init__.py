"""Tables and figures, from run records, scores, costs and neuron sets only."""
