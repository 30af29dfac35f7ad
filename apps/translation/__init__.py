"""Translation: training, evaluation and use."""
