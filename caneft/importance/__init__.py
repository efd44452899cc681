"""Importance of every neuron for every sentence pair: from hooks in the model to dumps on the disk."""
