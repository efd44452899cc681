"""From dumps to neuron sets: contingency tables, mutual information, criteria, stability."""
