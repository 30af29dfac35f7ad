r"""Time of a new token with the cache and without, interleaved.

Usage:

    python -m benchmarks.cached_generation --length=512

Prints one JSON object a line for each batch size: medians in milliseconds and
their ratios. "at the end" compares the last token alone, "over all" the whole
of generating `length` tokens from the first.
"""

import dataclasses
import functools
import json
import statistics
import time

import numpy as np
import tensorflow as tf

from keras_xf import decoding
from keras_xf import models
from keras_xf.launch import launch
from keras_xf.launch import option


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """Options of the benchmark."""

    length: int = option("Tokens to generate.", 512)
    batch_sizes: tuple[int, ...] = option("Rows at once.", (1, 8))
    num_layers: int = option("Blocks of the model.", 3)
    hidden_dim: int = option("Width of the model.", 128)
    num_heads: int = option("Attention heads.", 4)
    intermediate_dim: int = option("Width inside the feed-forward.", 512)
    vocabulary_size: int = option("Tokens of the vocabulary.", 261)
    repeats: int = option("Rounds, each of every case.", 9)


def measure(options: Options, batch_size: int) -> dict:
    """Times all cases, one after the other in each round.

    Args:
        options: The options.
        batch_size: Rows at once.

    Returns:
        Medians and ratios by name.
    """
    model = models.build_language_model(
        vocabulary_size=options.vocabulary_size,
        num_layers=options.num_layers,
        hidden_dim=options.hidden_dim,
        num_heads=options.num_heads,
        intermediate_dim=options.intermediate_dim,
        positions="rotary",
        dropout=0.0,
        seed=0,
    )
    step_model = models.build_language_model_step(model)
    state = step_model.initial_state(batch_size, options.length)
    # As if all but one position had been seen.
    late = {
        **state,
        "position": tf.fill([batch_size], options.length - 1),
    }

    @tf.function(autograph=False)
    def generate(token_ids, length, state):
        return decoding.generate(
            step_model,
            state,
            token_ids,
            length,
            max_new_tokens=options.length,
            # Without an end, all rounds do the same work.
            suppressed_ids=range(5),
        )["token_ids"]

    @tf.function(reduce_retracing=True)
    def whole(token_ids):
        length = tf.fill([batch_size], tf.shape(token_ids)[1])
        return model({"token_ids": token_ids, "length": length})["logits"]

    step = tf.function(step_model.step, autograph=False)
    one = tf.ones([batch_size, 1], tf.int32)
    lengths = np.linspace(1, options.length, 9).astype(int)
    cases = {
        "generate": functools.partial(
            generate, one, tf.ones([batch_size], tf.int32), state
        ),
        "step": functools.partial(step, one, late),
        **{
            f"whole {length}": functools.partial(
                whole, tf.ones([batch_size, length], tf.int32)
            )
            for length in lengths
        },
    }
    medians = _medians(cases, options.repeats)
    # The time in between lies on the lines between what was measured.
    recomputing = np.interp(
        np.arange(1, options.length + 1),
        lengths,
        [medians[f"whole {length}"] for length in lengths],
    ).sum()
    last = medians[f"whole {options.length}"]
    return {
        "batch_size": batch_size,
        "length": options.length,
        "cached_ms_per_token": 1e3 * medians["generate"] / options.length,
        "recomputing_ms_per_token": 1e3 * recomputing / options.length,
        "ratio_over_all": recomputing / medians["generate"],
        "step_ms_at_the_end": 1e3 * medians["step"],
        "recomputing_ms_at_the_end": 1e3 * last,
        "ratio_at_the_end": last / medians["step"],
    }


def _medians(cases, repeats):
    seconds = {name: [] for name in cases}
    for case in cases.values():
        case()  # Traces.
    for _ in range(repeats):
        for name, case in cases.items():
            start = time.perf_counter()
            case()
            seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(each) for name, each in seconds.items()}


def main(options: Options) -> None:
    """Prints a line of JSON for each batch size."""
    for batch_size in options.batch_sizes:
        print(json.dumps(measure(options, batch_size)), flush=True)


if __name__ == "__main__":
    launch(Options, main)
