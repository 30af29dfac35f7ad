"""What an autoencoder's decoder tells of an image, in bits per dimension.

A decoder that gives one number for each pixel is no distribution. It is made
one here by a logistic distribution around that number, of one width for all,
whose mass between the middles of two of the 256 levels is the probability of a
level (Salimans et al., 2017, equation 2): probabilities that sum to 1 over the
levels of each entry.
"""

import numpy as np

# In levels of 256: from all but certain to knowing nothing.
_SMALLEST, _LARGEST = 0.01, 256.0
# Images whose numbers are held in float64.
_AT_ONCE = 500


def mean_nats(images: np.ndarray, decoded: np.ndarray, scale: float) -> float:
    """The mean of `-log p` over all entries, in nats.

    Args:
        images: uint8 `(count, height, width, channels)`.
        decoded: What the decoder makes of their codes, float of the same
            shape, with white as 1. It is clipped to [0, 1].
        scale: Width of the distribution, in levels.

    Reference:
        [Salimans et al., 2017](https://arxiv.org/abs/1701.05517)
    """
    total = 0.0
    for start in range(0, len(images), _AT_ONCE):
        rows = slice(start, start + _AT_ONCE)
        total += _log_probs(images[rows], decoded[rows], scale).sum()
    return float(-total / images.size)


def fit_scale(images: np.ndarray, decoded: np.ndarray) -> float:
    """Finds the width that makes images most likely.

    Args:
        images: As `mean_nats` takes them; those to learn from, since a width
            that knew the images it is to measure would cost bits itself.
        decoded: The same.

    Returns:
        The width, in levels, to a few parts in a thousand.
    """
    low, high = np.log(_SMALLEST), np.log(_LARGEST)
    # Each round keeps what lies around the best of nine.
    for _ in range(6):
        candidates = np.linspace(low, high, 9)
        nats = [mean_nats(images, decoded, np.exp(x)) for x in candidates]
        best = int(np.argmin(nats))
        low = candidates[max(best - 1, 0)]
        high = candidates[min(best + 1, 8)]
    return float(np.exp((low + high) / 2))


def _log_probs(images, decoded, scale):
    centers = 255 * decoded.astype(np.float64).clip(0, 1)
    low = (images - 0.5 - centers) / scale
    high = (images + 0.5 - centers) / scale
    # sigmoid(high) - sigmoid(low) is sigmoid(high) sigmoid(-low) times this,
    # which loses nothing far from the center.
    inside = np.log(-np.expm1(-1 / scale))
    # All that is darker than black is black, and white likewise.
    return np.where(
        images == 0,
        _log_sigmoid(high),
        np.where(
            images == 255,
            _log_sigmoid(-low),
            _log_sigmoid(high) + _log_sigmoid(-low) + inside,
        ),
    )


def _log_sigmoid(x):
    return -np.logaddexp(0, -x)
