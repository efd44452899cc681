"""Base models: loading, FFN layouts, loss on responses, pretraining of small bases."""
