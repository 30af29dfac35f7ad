r"""The duplication task of the Reformer paper (Kitaev et al., 2020, table 2).

Usage:

    python -m benchmarks.duplication --run_dir=runs/lsh_4 --num_hashes=4
    python -m benchmarks.duplication --run_dir=runs/lsh_4 --evaluate

A sequence is `0w0w`, `w` a random word of the symbols from 1 on; the model, one
block, says each next symbol, and is judged by the second word alone. The first
command trains, or goes on where it was stopped: `history.csv` tells how it
went. The second prints one JSON object: the fraction of symbols that are right
with full attention and with several numbers of hashes, the weights as they are.
Queries are keys in full attention, too, so that one fits the weights of the
other. "Full" is LSH attention of a chunk as long as the sequence, what more and
more hashes come to: no position attends to itself. In "full, itself too" each
one does, as in any dense attention.

Exit codes: 0, and 75 if SIGTERM stopped a training that has saved where it was.
"""

import csv
import dataclasses
import json
import signal
import time
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from absl import logging

from benchmarks.train import STOPPED
from keras_xf import layers
from keras_xf.checks import check
from keras_xf.files import atomic_file
from keras_xf.launch import ProgramError
from keras_xf.launch import launch
from keras_xf.launch import load_options
from keras_xf.launch import option
from keras_xf.launch import save_options
from keras_xf.ops import chunks
from keras_xf.ops.chunk_windows import ChunkWindows
from keras_xf.ops.unit_vectors import unit_vectors
from keras_xf.optimizers import LinearWarmup

# Columns of the paper's table, and one more, by the rounds of hashing.
ITSELF_TOO = "full, itself too"
EVALUATED = {
    ITSELF_TOO: 0,
    "full": 0,
    **{f"LSH-{num_hashes}": num_hashes for num_hashes in (8, 4, 2, 1)},
}
# Training words have the seed of the options and their step.
TEST_SEED = 2**31


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """Options of the program."""

    run_dir: str = option("Where the training keeps its state.")
    evaluate: bool = option("Evaluate what was trained, as it was.", False)
    num_hashes: int = option("Rounds of hashing; 0 is full attention.", 4)
    # Task and model.
    word_length: int = option("Symbols of a word; 511 in the paper.", 127)
    num_symbols: int = option("The separator and all others.", 128)
    chunk_length: int = option("Positions of a chunk of attention.", 16)
    hidden_dim: int = option("Width; 256 in the paper.", 128)
    num_heads: int = option("Attention heads.", 4)
    # Training.
    train_steps: int = option("Steps; 150 000 in the paper.", 3_000)
    batch_size: int = option("Sequences of a step.", 32)
    learning_rate: float = option("Highest learning rate of Adam.", 1e-3)
    warmup_steps: int = option("Steps in which the rate rises.", 200)
    save_every_steps: int = option("Steps between rows and checkpoints.", 500)
    seed: int = option("Seed of weights, hashes and words.", 0)
    xla: bool = option("Compile the steps.", True)
    # Evaluation.
    test_sequences: int = option("Sequences to evaluate with.", 512)

    def __post_init__(self):
        for name in ("word_length", "train_steps", "batch_size"):
            value = getattr(self, name)
            check(value > 0, f"`{name}` must be positive.", **{name: value})
        check(
            self.save_every_steps > 0,
            "`save_every_steps` must be positive.",
            save_every_steps=self.save_every_steps,
        )
        check(
            self.test_sequences >= self.batch_size,
            "`test_sequences` must be a batch or more.",
            test_sequences=self.test_sequences,
            batch_size=self.batch_size,
        )
        check(
            self.num_symbols > 1,
            "`num_symbols` must be more than the separator.",
            num_symbols=self.num_symbols,
        )

    @property
    def length(self) -> int:
        """Positions of a sequence: two words and their separators."""
        return 2 * (self.word_length + 1)


class Stopped(ProgramError):
    """A training that was stopped and has saved where it was."""

    exit_code = STOPPED


def run(options: Options) -> None:
    """Trains, or evaluates and prints a JSON object."""
    if options.evaluate:
        print(json.dumps(evaluate(options)))
    else:
        train(options)


def train(options: Options) -> None:
    """Trains in the run directory, from its newest checkpoint on.

    Raises:
        ValueError: If the run directory is that of other options.
        Stopped: If SIGTERM came.
    """
    run_dir = Path(options.run_dir)
    run_dir.mkdir(parents=True, exist_ok=True)
    _keep_options(options, run_dir)
    training = _Training(options)
    training.restore()
    asked = []
    before = signal.signal(signal.SIGTERM, lambda *_: asked.append(True))
    try:
        while training.step < options.train_steps and not asked:
            training.advance()
    finally:
        signal.signal(signal.SIGTERM, before)
    if training.step < options.train_steps:
        raise Stopped(f"SIGTERM at step {training.step}: the state is saved.")


def evaluate(options: Options) -> dict:
    """Judges a trained model with each kind of attention.

    Args:
        options: Of these, `run_dir` and `test_sequences` count.

    Returns:
        The fraction of right symbols, by the kind of attention.
    """
    run_dir = Path(options.run_dir)
    trained = load_options(Options, run_dir / "options.flags")
    training = _Training(dataclasses.replace(trained, run_dir=options.run_dir))
    check(
        training.restore(),
        "`run_dir` must hold a training with a checkpoint.",
        run_dir=str(run_dir),
    )
    words = make_words(trained, TEST_SEED, options.test_sequences)
    results = {}
    for name, num_hashes in EVALUATED.items():
        model = build_model(trained, num_hashes, name == ITSELF_TOO)
        model.set_weights(training.model.get_weights())
        results[name] = _accuracy(model, words, trained)
    return results


def make_words(options: Options, step: int, num_words: int) -> np.ndarray:
    """Random words, the same ones for the same step.

    Returns:
        int32 array `(num_words, word_length)` of symbols from 1 on.
    """
    return np.random.default_rng([options.seed, step]).integers(
        1, options.num_symbols, (num_words, options.word_length), np.int32
    )


def make_batch(words) -> tuple[tf.Tensor, tf.Tensor]:
    """Sequences of words, and what the model shall say.

    Args:
        words: int32 `(batch, word_length)`.

    Returns:
        Inputs, int32 `(batch, 2 * (word_length + 1))`: separator, word,
        separator, word, one place later, with a separator in front. Targets,
        int32 `(batch, word_length)`: what comes next at the last places.
    """
    separator = tf.zeros_like(words[:, :1])
    sequence = tf.concat([separator, words, separator, words], axis=1)
    return tf.concat([separator, sequence[:, :-1]], axis=1), words


def build_model(
    options: Options, num_hashes: int, itself_too: bool = False
) -> keras.Model:
    """One block that says the symbols of the second word.

    Args:
        options: The sizes.
        num_hashes: Rounds of hashing; 0 is full attention. The weights are
            the same.
        itself_too: Whether positions attend to themselves, in full attention.

    Returns:
        A model from ids `(batch, length)` to logits `(batch, word_length,
        num_symbols)`.
    """
    dim, length = options.hidden_dim, options.length
    token_ids = keras.Input((length,), dtype="int32")
    x = layers.TokenEmbedding(options.num_symbols, dim)(token_ids)
    x = layers.LearnedPositions(
        length, embeddings_initializer=keras.initializers.RandomNormal(0.0, 1.0)
    )(x)
    kind = _DenseSelfAttention if itself_too else layers.LSHSelfAttention
    attention = kind(
        options.num_heads,
        dim // options.num_heads,
        chunk_length=options.chunk_length if num_hashes else length,
        num_hashes=num_hashes or 1,
        causal=True,
        seed=options.seed,
    )
    x = layers.Residual(attention, name="attention")(x)
    # The paper's is as wide inside as outside.
    x = layers.Residual(layers.FeedForward(dim), name="feed_forward")(x)
    x = keras.layers.LayerNormalization(epsilon=1e-5, name="norm")(x)
    x = x[:, -options.word_length :]
    return keras.Model(
        token_ids, keras.layers.Dense(options.num_symbols, name="logits")(x)
    )


class _DenseSelfAttention(layers.LSHSelfAttention):
    """Of the same weights the attention in which all see all, and itself."""

    def call(self, inputs, training=False):
        query_key = self._project(self.query_key, inputs, self.key_dim)
        outputs, _ = chunks.attend(
            query_key,
            unit_vectors(query_key),
            self._project(self.value, inputs, self.key_dim),
            windows=ChunkWindows(inputs.shape[1], chunks_before=0),
            causal=True,
        )
        return self._join_heads(outputs)


class _Training:
    """A model, its optimizer, and where they stand."""

    def __init__(self, options):
        keras.utils.set_random_seed(options.seed)
        self.options = options
        self.model = build_model(options, options.num_hashes)
        self._optimizer = keras.optimizers.Adam(
            LinearWarmup(
                keras.optimizers.schedules.CosineDecay(
                    options.learning_rate, options.train_steps
                ),
                options.warmup_steps,
            ),
            global_clipnorm=1.0,
        )
        self._optimizer.build(self.model.trainable_variables)
        self._step = tf.Variable(0, dtype=tf.int64)
        self._seconds = tf.Variable(0.0, dtype=tf.float64)
        self._folder = Path(options.run_dir)
        # What Keras calls variables holds the seeds of the hashes, too.
        state = [*self.model.variables, *self._optimizer.variables]
        self._manager = tf.train.CheckpointManager(
            tf.train.Checkpoint(
                variables=[variable.value for variable in state],
                step=self._step,
                seconds=self._seconds,
            ),
            str((self._folder / "checkpoints").resolve()),
            max_to_keep=1,
        )
        self._update = tf.function(
            self._update_once, jit_compile=options.xla, autograph=False
        )

    @property
    def step(self):
        return int(self._step)

    def restore(self):
        """Goes to the newest checkpoint; returns whether there is one."""
        return self._manager.restore_or_initialize() is not None

    def advance(self):
        """Trains to the next checkpoint, and saves."""
        options = self.options
        every = options.save_every_steps
        end = min(self.step - self.step % every + every, options.train_steps)
        start, figures = time.perf_counter(), []
        for step in range(self.step, end):
            words = make_words(options, step, options.batch_size)
            figures.append(self._update(tf.constant(words)))
        loss, accuracy = np.mean(np.array(figures), axis=0)
        self._seconds.assign_add(time.perf_counter() - start)
        self._step.assign(end)
        row = {
            "step": end,
            "loss": float(loss),
            "accuracy": float(accuracy),
            "training_seconds": float(self._seconds),
        }
        logging.info("%s", row)
        self._add_row(row)
        self.save()

    def save(self):
        self._manager.save(self.step)

    def _update_once(self, words):
        inputs, targets = make_batch(words)
        with tf.GradientTape() as tape:
            logits = self.model(inputs, training=True)
            losses = keras.losses.sparse_categorical_crossentropy(
                targets, logits, from_logits=True
            )
            loss = tf.reduce_mean(losses)
        variables = self.model.trainable_variables
        gradients = tape.gradient(loss, [v.value for v in variables])
        self._optimizer.apply(gradients, variables)
        return loss, _share(logits, targets)

    def _add_row(self, row):
        path = self._folder / "history.csv"
        rows = []
        if path.exists():
            with path.open(newline="", encoding="utf-8") as file:
                rows = list(csv.DictReader(file))
        # What was done after the checkpoint that training went on from.
        rows = [old for old in rows if int(old["step"]) < row["step"]]
        with (
            atomic_file(path) as aside,
            aside.open("w", newline="", encoding="utf-8") as file,
        ):
            writer = csv.DictWriter(file, row)
            writer.writeheader()
            writer.writerows([*rows, row])


def _keep_options(options, run_dir):
    path = run_dir / "options.flags"
    if path.exists():
        before = load_options(Options, path)
        check(
            dataclasses.replace(before, run_dir=options.run_dir) == options,
            "`run_dir` must be new or of the same options.",
            run_dir=options.run_dir,
            before=before,
            now=options,
        )
    save_options(options, path)


def _accuracy(model, words, options):
    batch_size = options.batch_size
    predict = tf.function(
        lambda batch: model(batch, training=False),
        jit_compile=options.xla,
        autograph=False,
    )
    shares = []
    # Whole batches alone: another shape would be compiled anew.
    for start in range(0, len(words) - batch_size + 1, batch_size):
        inputs, targets = make_batch(
            tf.constant(words[start : start + batch_size])
        )
        shares.append(float(_share(predict(inputs), targets)))
    return float(np.mean(shares))


def _share(logits, targets):
    best = tf.argmax(logits, axis=-1, output_type=tf.int32)
    return tf.reduce_mean(tf.cast(best == targets, tf.float32))


if __name__ == "__main__":
    launch(Options, run)
