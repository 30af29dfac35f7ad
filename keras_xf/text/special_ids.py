"""Ids that every tokenizer keeps free for tokens that no text contains."""

PAD = 0  # Fills rows up to the longest; never scored.
UNK = 1  # Stands for text outside of the vocabulary.
BOS = 2  # Begins every sequence that a model reads.
EOS = 3  # Ends a document.
MASK = 4  # Hides a token that a model is to guess.

NUM_SPECIAL_IDS = 5
