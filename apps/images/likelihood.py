"""What an autoencoder's decoder leaves open of an image, in nats.

A decoder that gives one number for each pixel is no distribution. It is made
one here by a logistic distribution around that number, whose mass between the
middles of two of the 256 levels is the probability of a level (Salimans et al.,
2017, equation 2): probabilities that sum to 1 over the levels of an entry. Its
width is a function of the number: where a decoder says black, it is mostly
right, and in between it is less so.

A thousandth of each distribution is spread evenly over the levels. Without it,
widths that were fitted where the decoder is never wrong would make any error
cost more than the pixel itself; with it, none costs more than 18 bits.
"""

import numpy as np

# Widths for so many ranges of what the decoder says.
NUM_RANGES = 16
# Fewer entries than these do not tell the width of their range.
_LEAST_ENTRIES = 100
# In levels of 256: from all but certain to knowing nothing.
_SMALLEST, _LARGEST = 0.01, 256.0
# Images whose numbers are held in float64.
_AT_ONCE = 500
# The part of a distribution that is the same for all levels.
_EVEN = 0.001


def mean_nats(
    images: np.ndarray, decoded: np.ndarray, scales: np.ndarray
) -> float:
    """The mean of `-log p` over all entries, in nats.

    Of each distribution 0.999 is logistic, and 0.001 even over all levels.

    Args:
        images: uint8 `(count, height, width, channels)`.
        decoded: What the decoder makes of their codes, float of the same
            shape, with white as 1. It is clipped to [0, 1].
        scales: Widths in levels, `(NUM_RANGES,)`, from black to white.

    Reference:
        [Salimans et al., 2017](https://arxiv.org/abs/1701.05517)
    """
    total = 0.0
    for start in range(0, len(images), _AT_ONCE):
        centers, ranges = _centers(decoded[start : start + _AT_ONCE])
        levels = images[start : start + _AT_ONCE]
        total += _log_probs(levels, centers, scales[ranges]).sum()
    return float(-total / images.size)


def fit_scales(images: np.ndarray, decoded: np.ndarray) -> np.ndarray:
    """Finds the widths that make images most likely.

    Args:
        images: As `mean_nats` takes them; those to learn from, since widths
            that knew the images they are to measure would cost bits themselves.
        decoded: The same.

    Returns:
        Widths `(NUM_RANGES,)`, in levels, to a few parts in a thousand. A range
        that next to nothing lies in has that of all entries together.
    """
    centers, ranges = _centers(decoded)
    scales = np.full(NUM_RANGES, _fit(images, centers))
    for place in range(NUM_RANGES):
        is_in = ranges == place
        if np.count_nonzero(is_in) >= _LEAST_ENTRIES:
            scales[place] = _fit(images[is_in], centers[is_in])
    return scales


def _centers(decoded):
    """What the decoder says, in levels, and in which range that is."""
    centers = 255 * decoded.astype(np.float64).clip(0, 1)
    return centers, (centers * (NUM_RANGES / 256)).astype(np.int64)


def _fit(levels, centers):
    low, high = np.log(_SMALLEST), np.log(_LARGEST)
    # Each round keeps what lies around the best of nine.
    for _ in range(6):
        candidates = np.linspace(low, high, 9)
        likely = [
            _log_probs(levels, centers, np.exp(x)).sum() for x in candidates
        ]
        best = int(np.argmax(likely))
        low = candidates[max(best - 1, 0)]
        high = candidates[min(best + 1, 8)]
    return np.exp((low + high) / 2)


def histogram_bits(images: np.ndarray, known: np.ndarray) -> float:
    """What an entry costs if all that is known is how often levels occur.

    Args:
        images: uint8 array.
        known: uint8 array whose levels are counted, each once more than it
            occurs.

    Returns:
        The mean of `-log2 p` over the entries of `images`.
    """
    counts = np.bincount(known.ravel(), minlength=256) + 1
    found = np.bincount(images.ravel(), minlength=256)
    return float(-found @ np.log2(counts / counts.sum()) / images.size)


def _log_probs(levels, centers, scales):
    low = (levels - 0.5 - centers) / scales
    high = (levels + 0.5 - centers) / scales
    # sigmoid(high) - sigmoid(low) is sigmoid(high) sigmoid(-low) times this,
    # which loses nothing far from the center.
    inside = np.log(-np.expm1(-1 / scales))
    # All that is darker than black is black, and white likewise.
    logistic = np.where(
        levels == 0,
        _log_sigmoid(high),
        np.where(
            levels == 255,
            _log_sigmoid(-low),
            _log_sigmoid(high) + _log_sigmoid(-low) + inside,
        ),
    )
    return np.logaddexp(np.log1p(-_EVEN) + logistic, np.log(_EVEN / 256))


def _log_sigmoid(x):
    return -np.logaddexp(0, -x)
