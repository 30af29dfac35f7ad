"""What all evaluations of a Transformer-XL are given: weights, and a stream."""

import itertools
from collections.abc import Callable
from collections.abc import Iterator

import numpy as np


def evaluation_weights(sizes: dict) -> dict:
    """Random weights; biases are zero and norms change nothing, as at first.

    Args:
        sizes: `vocabulary_size`, `num_layers`, `hidden_dim`, `num_heads` and
            `intermediate_dim`.

    Returns:
        Float32 arrays: `embedding` `(vocabulary_size, dim)`, for input and
        output; `content_bias` and `position_bias` `(num_heads, head_dim)`,
        for all layers; and lists with an array a layer, `query`, `key`,
        `value`, `position` and `output` `(dim, dim)`, where heads are one
        after the other, `widen` `(dim, intermediate_dim)` and `narrow`
        `(intermediate_dim, dim)`.
    """
    random = np.random.default_rng(0)
    dim, wide = sizes["hidden_dim"], sizes["intermediate_dim"]

    def draw(*shape, scale):
        return scale * random.standard_normal(shape, np.float32)

    heads = sizes["num_heads"], dim // sizes["num_heads"]
    weights = {
        "embedding": draw(sizes["vocabulary_size"], dim, scale=dim**-0.5),
        # Large enough to be missed.
        "content_bias": draw(*heads, scale=0.5),
        "position_bias": draw(*heads, scale=0.5),
    }
    shapes = {
        **dict.fromkeys(
            ("query", "key", "value", "position", "output"), (dim, dim)
        ),
        "widen": (dim, wide),
        "narrow": (wide, dim),
    }
    for name, shape in shapes.items():
        weights[name] = [
            draw(*shape, scale=shape[0] ** -0.5)
            for _ in range(sizes["num_layers"])
        ]
    return weights


def prepare_evaluation(
    evaluate: Callable, case: str, sizes: dict, num_parameters: int
) -> tuple[Callable, dict]:
    """What a worker's `prepare` returns, less the versions.

    Args:
        evaluate: A function of ids and targets, int32 `(1, length)`, which
            go on where the last ones ended, to the float32 array of negative
            log-likelihoods of the targets. A window is judged by its last
            target alone.
        case: "evaluation", or "agreement" for what a few pieces come to.
        sizes: `method`, "memory", "hidden" or "window"; `length` of a window;
            `segment_length` of what is taken at once with a memory.
        num_parameters: How many numbers the weights are.

    Returns:
        The pair of a function that evaluates the next piece, and a dict of
        facts.
    """
    pieces = _pieces(sizes)
    facts = {"parameters": int(num_parameters)}
    if case == "agreement":
        few = itertools.islice(pieces, sizes["pieces"])
        facts["nll"] = [
            np.asarray(evaluate(*piece), np.float64).ravel().tolist()
            for piece in few
        ]
    return lambda: float(np.ravel(evaluate(*next(pieces)))[-1]), facts


def _pieces(sizes) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    is_window = sizes["method"] == "window"
    length = sizes["length"] if is_window else sizes["segment_length"]
    step = 1 if is_window else length
    # A stream that begins anew at its end.
    stream = np.random.default_rng(1).integers(
        sizes["vocabulary_size"], size=16 * step + length, dtype=np.int32
    )
    starts = range(0, len(stream) - length, step)
    for start in itertools.cycle(starts):
        piece = stream[None, start : start + length + 1]
        yield piece[:, :-1], piece[:, 1:]
