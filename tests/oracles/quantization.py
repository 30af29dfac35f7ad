"""Vector quantization in NumPy and float64, one vector after the other."""

import numpy as np


def nearest(vectors, codebook):
    """`argmin |x - e|`, of `(number, dim)` and `(num_codes, dim)`."""
    return np.array(
        [
            np.argmin(np.sum((codebook - row) ** 2, axis=-1))
            for row in np.asarray(vectors, "float64")
        ],
        "int32",
    )


def statistics(vectors, indices, num_codes, weights):
    """Hits and sums of hits, one vector after the other."""
    counts = np.zeros(num_codes)
    sums = np.zeros((num_codes, vectors.shape[-1]))
    for row, index, weight in zip(vectors, indices, weights, strict=True):
        counts[index] += weight
        sums[index] += weight * row.astype("float64")
    return counts, sums


class Averages:
    """A codebook and its averages, one code after the other."""

    def __init__(self, codes, decay, epsilon, start):
        self.codes = np.array(codes, "float64")
        self.decay, self.epsilon, self.start = decay, epsilon, start
        self.steps = 0
        self.counts = np.full(len(codes), start)
        self.sums = self.codes * start

    def step(self, vectors, weights=None):
        """One training step; returns the indices of before it."""
        if weights is None:
            weights = np.ones(len(vectors))
        indices = nearest(vectors, self.codes)
        counts, sums = statistics(vectors, indices, len(self.codes), weights)
        self.steps += 1
        self.counts = self.decay * self.counts + (1 - self.decay) * counts
        self.sums = self.decay * self.sums + (1 - self.decay) * sums
        scale = 1.0 if self.start else 1 - self.decay**self.steps
        total = self.counts.sum() / scale
        for code in range(len(self.codes)):
            smoothed = (self.counts[code] / scale + self.epsilon) / (
                total + len(self.codes) * self.epsilon
            )
            self.codes[code] = self.sums[code] / scale / (smoothed * total)
        return indices
