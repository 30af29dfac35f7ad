r"""Trains autoencoders of 2^14 codes, and counts how many codes they use.

Usage:

    python -m benchmarks.index_collapse \
        --train_images=cifar10_train.tar.xz --test_images=cifar10_test.tar.xz \
        --text=enwik8

With images it learns patches, with a text short runs of bytes. Each
autoencoder writes a patch or a run as one of 16,384 codes; they differ in the
bottleneck alone, have the same batches, and at the same steps are judged on
the same data that they did not learn from. Whichever is done appends one JSON
object to `--results`; what is recorded already is not run again.
`benchmarks.index_collapse_plot` makes the table and the picture.
"""

import dataclasses
import datetime
import hashlib
import time
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from absl import logging

from benchmarks import collapse_data
from benchmarks.collapse_models import BITS
from benchmarks.collapse_models import BOTTLENECKS
from benchmarks.collapse_models import CODE_DIM
from benchmarks.collapse_models import HIDDEN_DIM
from benchmarks.collapse_models import NUM_CODES
from benchmarks.collapse_models import Autoencoder
from benchmarks.environments import describe_machine
from benchmarks.results import append_results
from benchmarks.results import read_results
from keras_xf.checks import check
from keras_xf.launch import launch
from keras_xf.launch import option

JUDGED_AT_ONCE = 4096
# How long a run is. Runs that differ in it alone are of one task.
LENGTH = ("train_steps", "max_seconds")
# Training batches have the seed of the options and their step.
TEST_SEED = 2**31


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """Options of the program."""

    train_images: str | None = option("Tar file of images to learn from.", None)
    test_images: str | None = option("Tar file of images to judge with.", None)
    text: str | None = option(
        "A text, plain, .gz or .xz; its last tenth is to judge with.", None
    )
    bottlenecks: tuple[str, ...] = option(
        "Bottlenecks; all if empty.", (), choices=tuple(BOTTLENECKS)
    )
    results: str = option(
        "JSON lines to append to.", "benchmarks/results/index_collapse.jsonl"
    )
    # Data.
    patch_size: int = option("Height and width of a patch.", 8)
    run_length: int = option("Bytes of a run.", 4)
    # Training.
    train_steps: int = option("Steps.", 3000)
    max_seconds: float = option(
        "Processor time of training after which it ends anyway.", 330.0
    )
    batch_size: int = option("Vectors of a step.", 512)
    learning_rate: float = option("Learning rate of Adam.", 1e-3)
    seed: int = option("Seed of weights and batches.", 0)
    xla: bool = option("Compile the steps.", True)
    # Judgement.
    test_vectors: int = option("Vectors to judge with.", 65_536)
    judgements: int = option(
        "How often: at the end, at half of the steps, at half of these.", 6
    )

    def __post_init__(self):
        for name in ("train_steps", "batch_size", "judgements", "max_seconds"):
            value = getattr(self, name)
            check(value > 0, f"`{name}` must be positive.", **{name: value})
        check(
            self.test_vectors > 0
            and (
                self.test_vectors < 2 * JUDGED_AT_ONCE
                or self.test_vectors % JUDGED_AT_ONCE == 0
            ),
            f"`test_vectors` must be positive, and a multiple of "
            f"{JUDGED_AT_ONCE} where they are {2 * JUDGED_AT_ONCE} or more.",
            test_vectors=self.test_vectors,
        )
        check(
            (self.train_images is None) == (self.test_images is None),
            "`train_images` and `test_images` must be given together.",
            train_images=self.train_images,
            test_images=self.test_images,
        )
        check(
            self.train_images or self.text,
            "`train_images` or `text` must be given.",
            train_images=self.train_images,
            text=self.text,
        )

    @property
    def judged_after(self) -> tuple[int, ...]:
        """The steps after which an autoencoder is judged."""
        halves = {self.train_steps >> k for k in range(self.judgements)}
        return tuple(sorted(halves - {0}))


def run(options: Options) -> None:
    """Trains and records what is not recorded yet."""
    for kind, read in _readers(options).items():
        names = options.bottlenecks or tuple(BOTTLENECKS)
        missing = [
            name for name in names if not _is_recorded(options, kind, name)
        ]
        # Images take a while to read.
        data = read() if missing else None
        for name in missing:
            logging.info("%s, %s", kind, name)
            record = {
                "data": kind,
                "bottleneck": name,
                "fingerprint": _fingerprint(options, kind),
                "task": _fingerprint(options, kind, LENGTH),
                "time": _now(),
                "machine": describe_machine(),
                "train_steps": options.train_steps,
                "batch_size": options.batch_size,
                "test_vectors": options.test_vectors,
                "history": train(data, name, options),
            }
            append_results(options.results, [record])


def train(data, bottleneck: str, options: Options) -> list[dict]:
    """Trains one autoencoder.

    Args:
        data: `collapse_data.Patches` or `Bytes`.
        bottleneck: Name of the bottleneck.
        options: Options of the training.

    Returns:
        For each judgement the steps, the seconds of processor time and what
        `judge` returns.
    """
    keras.utils.clear_session(free_memory=True)
    keras.utils.set_random_seed(options.seed)
    model = Autoencoder(data, bottleneck, options.train_steps)
    model(data.draw(1, 0))
    optimizer = keras.optimizers.Adam(options.learning_rate)
    optimizer.build(model.trainable_variables)

    @tf.function(jit_compile=options.xla, autograph=False)
    def update(inputs):
        with tf.GradientTape() as tape:
            outputs = model(inputs, training=True)
            loss = model.loss_of(inputs, outputs) + sum(model.losses)
        variables = model.trainable_variables
        gradients = tape.gradient(loss, [v.value for v in variables])
        optimizer.apply(gradients, variables)
        return loss

    judge_batch = tf.function(
        model.judge, jit_compile=options.xla, autograph=False
    )
    held_out = data.draw(options.test_vectors, TEST_SEED, held_out=True)
    history, seconds = [], 0.0
    for step in range(1, options.train_steps + 1):
        batch = data.draw(options.batch_size, [options.seed, step])
        start = time.process_time()
        update(tf.constant(batch)).numpy()
        # The first step is compiled.
        seconds += (time.process_time() - start) * (step > 1)
        is_over = seconds > options.max_seconds
        if step in options.judged_after or is_over:
            figures = judge(judge_batch, held_out)
            row = {"step": step, "seconds": seconds, **figures}
            logging.info("%s", row)
            history.append(row)
        if is_over:
            break
    return history


def judge(judge_batch, held_out) -> dict:
    """Counts the codes of vectors, and how well these are read again.

    Args:
        judge_batch: Function of a batch, as `Autoencoder.judge`.
        held_out: The vectors: fewer than 8192, or a multiple of 4096.

    Returns:
        `active_fraction` of all codes, joint `perplexity`, `loss` and
        `accuracy`.
    """
    batches = np.split(held_out, max(len(held_out) // JUDGED_AT_ONCE, 1))
    judged = [judge_batch(tf.constant(batch)) for batch in batches]
    codes, losses, right = zip(*judged, strict=True)
    hits = np.bincount(np.concatenate(codes), minlength=NUM_CODES)
    shares = hits[hits > 0] / hits.sum()
    return {
        "active_fraction": float(np.mean(hits > 0)),
        "perplexity": float(np.exp(-np.sum(shares * np.log(shares)))),
        "loss": float(np.mean(losses)),
        "accuracy": float(np.mean(right)),
    }


def _readers(options):
    readers = {}
    if options.train_images:
        readers["patches"] = lambda: collapse_data.read_patches(
            options.train_images, options.test_images, options.patch_size
        )
    if options.text:
        readers["bytes"] = lambda: collapse_data.read_bytes(
            options.text, options.run_length
        )
    return readers


def _fingerprint(options, kind, but=()):
    """Tells a run from one that would come out differently."""
    own = {
        "patches": ("train_images", "test_images", "patch_size"),
        "bytes": ("text", "run_length"),
    }
    names = (*LENGTH, "batch_size", "learning_rate")
    names += ("seed", "test_vectors", "judgements")
    values = {name: getattr(options, name) for name in names if name not in but}
    # Early records are all of compiled steps, and do not say so.
    if not options.xla:
        values["xla"] = False
    for name in own[kind]:
        value = getattr(options, name)
        # The file's name: where it lies does not matter.
        values[name] = Path(value).name if isinstance(value, str) else value
    values["sizes"] = (BITS, CODE_DIM, HIDDEN_DIM)
    return hashlib.sha256(repr(sorted(values.items())).encode()).hexdigest()


def _is_recorded(options, kind, name):
    if not Path(options.results).exists():
        return False
    own = (kind, name, _fingerprint(options, kind))
    return any(
        (record["data"], record["bottleneck"], record["fingerprint"]) == own
        for record in read_results(options.results)
    )


def _now():
    return datetime.datetime.now(datetime.UTC).isoformat("T", "seconds")


if __name__ == "__main__":
    launch(Options, run)
