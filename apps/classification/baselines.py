"""Simple classifiers that a model should beat."""

import collections
import re

import numpy as np

from keras_xf.data.labeled_texts import LabeledTexts

_WORD = re.compile(rb"\w+")


def guess_majority(train: LabeledTexts, test: LabeledTexts) -> list[str]:
    """Gives every text the label that most texts have.

    Args:
        train: What is known.
        test: The texts to label.

    Returns:
        A label for each text of `test`.
    """
    ((label, _),) = collections.Counter(train.labels).most_common(1)
    return [label] * len(test.texts)


def guess_naive_bayes(train: LabeledTexts, test: LabeledTexts) -> list[str]:
    """Labels texts by their words, taken as independent of each other.

    Multinomial naive Bayes with add-one smoothing over the words that `train`
    has (Manning, Raghavan & Schuetze, Introduction to Information Retrieval,
    2008, section 13.2). A word is a run of letters, digits and underscores.

    Args:
        train: What is known.
        test: The texts to label.

    Returns:
        A label for each text of `test`.
    """
    words_of = collections.defaultdict(collections.Counter)
    for label, text in zip(train.labels, train.texts, strict=True):
        words_of[label].update(_WORD.findall(text))
    vocabulary = {
        word: place
        for place, word in enumerate(sorted(set().union(*words_of.values())))
    }
    classes = train.classes
    counts = np.ones((len(classes), len(vocabulary)))
    for row, label in enumerate(classes):
        for word, count in words_of[label].items():
            counts[row, vocabulary[word]] += count
    log_probs = np.log(counts / counts.sum(axis=1, keepdims=True))
    priors = np.log([train.labels.count(label) for label in classes])
    guesses = []
    for text in test.texts:
        places = [
            vocabulary[word]
            for word in _WORD.findall(text)
            if word in vocabulary
        ]
        score = priors + log_probs[:, places].sum(axis=1)
        guesses.append(classes[int(score.argmax())])
    return guesses
