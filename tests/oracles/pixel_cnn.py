"""Slow gated masked convolutions, and what a stack of them may see."""

import numpy as np


def gated_pixel_convolution(
    vertical, horizontal, weights, *, reach, strict, bias=0.0
):
    """Both stacks, place by place, in float64.

    Args:
        vertical: Array `(height, width, dim)`.
        horizontal: Likewise.
        weights: Arrays by name: kernels and biases "vertical" and
            "horizontal", kernel "link", kernel and bias "output".
        reach: How far up, and to the left, a place sees.
        strict: Whether a place does not see itself.
        bias: What is added before the gates, `(4 filters,)` or that of each
            place.

    Returns:
        The pair of arrays `(height, width, filters)`.
    """
    height, width = vertical.shape[:2]
    kernel, offset = weights["vertical"]
    row_kernel, row_offset = weights["horizontal"]
    (link,) = weights["link"]
    projection, output_offset = weights["output"]
    filters = projection.shape[1]
    bias = np.broadcast_to(bias, (height, width, 4 * filters))
    above = np.zeros((height, width, filters))
    before = np.zeros((height, width, filters))
    # The offset of a kernel's last row, or its last column.
    last = -1 if strict else 0
    for i in range(height):
        for j in range(width):
            x = offset.astype("float64")
            for n in range(kernel.shape[0]):
                row = i + last - (kernel.shape[0] - 1 - n)
                for m in range(kernel.shape[1]):
                    column = j + m - reach
                    if row >= 0 and 0 <= column < width:
                        x = x + vertical[row, column] @ kernel[n, m]
            y = x @ link + row_offset + bias[i, j, 2 * filters :]
            x = x + bias[i, j, : 2 * filters]
            for m in range(row_kernel.shape[1]):
                column = j + last - (row_kernel.shape[1] - 1 - m)
                if column >= 0:
                    y = y + horizontal[i, column] @ row_kernel[0, m]
            above[i, j] = _gate(x)
            before[i, j] = _gate(y) @ projection + output_offset
            if not strict:
                before[i, j] += horizontal[i, j]
    return above, before


def _gate(x):
    value, gate = np.split(x, 2)
    return np.tanh(value) / (1.0 + np.exp(-gate))


def visible_places(height, width, reaches):
    """What each place of a whole stack sees of the image.

    Args:
        height: Height of the image.
        width: Its width.
        reaches: How far each layer sees; the first one is strict.

    Returns:
        Boolean array `(height, width, height, width)`, True where the first
        place sees the second.
    """
    places = [(i, j) for i in range(height) for j in range(width)]
    above = before = {place: {place} for place in places}
    for index, reach in enumerate(reaches):
        shift = 1 if index == 0 else 0

        def looked_at(i, j, reach=reach, shift=shift):
            rows = range(i - reach, i + 1 - shift)
            return [
                (r, c) for r in rows for c in range(j - reach, j + reach + 1)
            ]

        def left_of(i, j, reach=reach, shift=shift):
            return [(i, c) for c in range(j - reach, j + 1 - shift)]

        def union(seen, looks, place):
            return set().union(*(seen.get(at, set()) for at in looks(*place)))

        new_above = {p: union(above, looked_at, p) for p in places}
        before = {p: union(before, left_of, p) | new_above[p] for p in places}
        above = new_above
    visible = np.zeros((height, width, height, width), bool)
    for place, seen in before.items():
        for other in seen:
            visible[(*place, *other)] = True
    return visible
