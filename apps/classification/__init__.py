"""Classification of texts: which of some classes a text belongs to."""
