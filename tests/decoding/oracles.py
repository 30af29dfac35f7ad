"""Slow decoding in NumPy, one row at a time, on whole histories."""

import numpy as np


def log_softmax(logits):
    logits = np.asarray(logits, "float64")
    return logits - np.log(np.sum(np.exp(logits - logits.max()))) - logits.max()


def continue_greedily(
    logits_after, prompt, max_new_tokens, suppressed_ids, eos_id
):
    """Returns the new tokens without EOS, and their score with EOS."""
    history = list(prompt)
    score = 0.0
    for _ in range(max_new_tokens):
        logits = np.asarray(logits_after(history), "float64")
        allowed = [i for i in range(len(logits)) if i not in suppressed_ids]
        best = max(allowed, key=lambda i: (logits[i], -i))
        score += log_softmax(logits)[best]
        if best == eos_id:
            break
        history.append(best)
    return history[len(prompt) :], score


def score_of(logits_after, prompt, new_tokens):
    """Sum of the log-probabilities of `new_tokens` after `prompt`."""
    history = list(prompt)
    score = 0.0
    for token in new_tokens:
        score += log_softmax(logits_after(history))[token]
        history.append(token)
    return score


def nucleus(probabilities, top_p):
    """The ids of the smallest most probable set that reaches `top_p`."""
    by_rank = sorted(
        range(len(probabilities)), key=lambda i: (-probabilities[i], i)
    )
    members = []
    share = 0.0
    for token in by_rank:
        members.append(token)
        share += probabilities[token]
        if share >= top_p:
            break
    return members


def filtered_distribution(logits, temperature=1.0, top_k=None, top_p=1.0):
    """The distribution that `sample` draws from."""
    logits = np.asarray(logits, "float64")
    if temperature == 0:
        return np.eye(len(logits))[np.argmax(logits)]
    probabilities = np.exp(log_softmax(logits / temperature))
    if top_k is not None:
        by_rank = sorted(range(len(logits)), key=lambda i: (-logits[i], i))
        probabilities[by_rank[top_k:]] = 0.0
        probabilities /= probabilities.sum()
    if top_p < 1:
        is_kept = np.isin(np.arange(len(logits)), nucleus(probabilities, top_p))
        probabilities = np.where(is_kept, probabilities, 0.0)
    return probabilities / probabilities.sum()
