r"""Finds how much context language models gain from, relative to each other.

Usage:

    python -m apps.language_model.recl --run_dirs=runs/xl,runs/transformer \
        --output_dir=runs/recl --start=50 --delta=50 --maximum=600

The relative effective context length of a group of models, which have one
tokenizer: see `effective_context`. Each position of the text is scored after
contexts of `start`, `start + delta`, … tokens, before which nothing is known to
a model; a Transformer-XL reads them in segments with its memory, others see
them in one window. Prints a table and leaves `recl.json` and `recl.png` in the
output directory. What was scored is kept there too: the same command goes on
where it was cut off, and one with more runs scores the new ones alone.
"""

import dataclasses
import hashlib
import json
from pathlib import Path

import numpy as np
from absl import logging

from apps.language_model.context_losses import ContextLosses
from apps.language_model.corpus import read_corpus
from apps.language_model.effective_context import relative_effective_context
from apps.language_model.recl_plot import plot_recl
from apps.language_model.stream_options import StreamOptions
from apps.language_model.train import Options as TrainOptions
from apps.training import RunDirectory
from apps.training import check_can_plot
from apps.training.model_file import load_model
from keras_xf.checks import check
from keras_xf.files import atomic_file
from keras_xf.files import sha256
from keras_xf.launch import launch
from keras_xf.launch import load_options
from keras_xf.launch import option
from keras_xf.text import load_tokenizer


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(StreamOptions):
    """Options of the comparison."""

    run_dirs: tuple[str, ...] = option("Run directories of language models.")
    output_dir: str = option("Where the results go.")
    files: tuple[str, ...] = option(
        "Text files, plain, .gz or .xz; the first run's test files if empty.",
        (),
    )
    start: int = option("Tokens of the shortest context.", 50)
    delta: int = option("Tokens from context to context.", 50)
    maximum: int = option("Tokens of the longest context.", 600)
    top: tuple[float, ...] = option(
        "Fractions of the positions, the hardest ones, to look at.",
        (0.1, 0.5, 1.0),
    )
    positions: int = option("Tokens that are scored after each context.", 4096)
    stride: int = option(
        "Tokens that are scored after one reading of their context: of the "
        "last of them it is as many longer.",
        16,
    )
    batch_size: int = option("Contexts at once.", 16)
    window_length: int | None = option(
        "Models without a memory: tokens in view; as many as each was trained "
        "on if none, all if 0.",
        None,
    )

    def __post_init__(self):
        StreamOptions.__post_init__(self)
        check(
            self.run_dirs,
            "`run_dirs` must not be empty.",
            run_dirs=self.run_dirs,
        )
        for name in ("start", "delta", "positions", "stride", "batch_size"):
            value = getattr(self, name)
            check(value > 0, f"`{name}` must be positive.", **{name: value})
        check(
            self.window_length is None or self.window_length >= 0,
            "`window_length` must not be negative.",
            window_length=self.window_length,
        )
        check(
            self.maximum >= self.start + self.delta,
            "`maximum` must leave room for two contexts.",
            start=self.start,
            delta=self.delta,
            maximum=self.maximum,
        )
        check(
            not self.window_length or self.window_length > self.stride,
            "`window_length` must be more than `stride`.",
            window_length=self.window_length,
            stride=self.stride,
        )
        check(
            self.top and all(0 < top <= 1 for top in self.top),
            "`top` must be fractions in (0, 1].",
            top=self.top,
        )

    @property
    def contexts(self) -> list[int]:
        """Lengths of the contexts."""
        return list(range(self.start, self.maximum + 1, self.delta))


def compare(options: Options) -> dict:
    """Scores the models and finds their effective contexts.

    Args:
        options: The options.

    Returns:
        What `recl.json` holds: `contexts`, `positions`, `stride`, and `models`,
        of each its `run_dir`, `parameters`, the mean `losses` after each
        context, in nats, and by the fraction `recl`, as
        `relative_effective_context` gives it.

    Raises:
        ValueError: If a run directory or a file is missing or wrong, the runs
            have several tokenizers, or the text is too short.
    """
    runs = [RunDirectory(path) for path in options.run_dirs]
    for run in runs:
        run.check_trained("language model", "text")
    tokenizers = [sha256(run.path / "text" / "tokenizer.json") for run in runs]
    check(
        len(set(tokenizers)) == 1,
        "`run_dirs` must be of models with one tokenizer.",
        run_dirs=options.run_dirs,
    )
    token_ids = _read_text(options, runs[0])
    starts = _block_starts(options, len(token_ids))
    losses, parameters = [], []
    for run in runs:
        found, size = _score(options, run, token_ids, starts)
        losses.append(found)
        parameters.append(size)
    losses = np.array(losses)
    lengths = {
        str(top): relative_effective_context(losses, options.contexts, top)
        for top in options.top
    }
    return {
        "contexts": options.contexts,
        "positions": losses.shape[2],
        "stride": options.stride,
        "models": [
            {
                "run_dir": str(run.path),
                "parameters": parameters[place],
                "losses": losses[place].mean(axis=1).tolist(),
                "recl": {top: found[place] for top, found in lengths.items()},
            }
            for place, run in enumerate(runs)
        ],
    }


def recl(options: Options) -> dict:
    """Prints, writes and draws the comparison.

    Args:
        options: The options.

    Returns:
        What `compare` returns.
    """
    check_can_plot(options.output_dir, "output_dir")
    comparison = compare(options)
    folder = Path(options.output_dir)
    with atomic_file(folder / "recl.json") as aside:
        aside.write_text(json.dumps(comparison, indent=1) + "\n")
    print(_table(comparison))
    plot_recl(comparison, folder / "recl.png")
    print(f"Plot: {folder / 'recl.png'}")
    return comparison


def _read_text(options, run):
    files = list(options.files)
    if not files:
        files = load_options(TrainOptions, run.options).files("test")
    check(
        files,
        "`files` must not be empty: the first run has no test files.",
        files=options.files,
    )
    flag = "files" if options.files else "test_files"
    return read_corpus(files, load_tokenizer(run.path / "text"), flag).token_ids


def _block_starts(options, num_tokens):
    """Blocks all over the text, each behind the longest context."""
    count = -(-options.positions // options.stride)
    room = num_tokens - options.maximum
    check(
        count * options.stride <= room,
        "`files` must have a context of `maximum` tokens and `positions` after "
        "it.",
        num_tokens=num_tokens,
        maximum=options.maximum,
        positions=options.positions,
    )
    places = np.linspace(0, room - options.stride, count)
    return options.maximum + places.astype(np.int64)


def _score(options, run, token_ids, starts):
    """Returns losses `(contexts, positions)`, kept on disk, and a size."""
    description = run.read_model_json()
    train_options = load_options(TrainOptions, run.options)
    stream = None
    if description["builder"] == "build_transformer_xl":
        stream = options.stream_settings(train_options)
    model = load_model(run.model, "run_dirs")
    score = ContextLosses(
        model,
        stream=stream,
        max_length=_max_length(options, description, train_options, stream),
        batch_size=options.batch_size,
    )
    folder = Path(options.output_dir) / "losses"
    folder.mkdir(parents=True, exist_ok=True)
    weights = sha256(run.model)
    found = []
    for context in options.contexts:
        seen = score.limit(context, options.stride)
        content = [weights, stream, options.stride, seen]
        key = hashlib.sha256(json.dumps(content).encode())
        key.update(starts.tobytes())
        key.update(np.ascontiguousarray(token_ids).tobytes())
        path = folder / f"{key.hexdigest()[:32]}.npy"
        if not path.exists():
            losses = score(token_ids, starts, options.stride, context)
            with atomic_file(path) as aside:
                np.save(aside, losses.reshape(-1))
        found.append(np.load(path))
        logging.info(
            "%s, context %d: %.4f nats", run.path, context, found[-1].mean()
        )
    return found, model.count_params()


def _max_length(options, description, train_options, stream):
    """Positions that a model may see at once, or None for any number.

    Beyond its training a model is lost at other tokens each time, which the
    formula, that takes the lowest losses, counts as gains.
    """
    limit = description["arguments"].get("max_length")
    if stream and stream["memory_length"]:
        return limit
    window = options.window_length
    if window is None:
        window = train_options.window_length
        if stream:
            window = train_options.train_segment
        check(
            window > options.stride,
            "`stride` must be less than the windows that a model without a "
            "memory was trained on.",
            stride=options.stride,
            window_length=window,
        )
    return min((length for length in (limit, window) if length), default=None)


def _table(comparison):
    """The lengths in a table, `>=` where the contexts ended before."""
    models = comparison["models"]
    width = max(len(model["run_dir"]) for model in models)
    tops = list(models[0]["recl"])
    lines = [
        f"Relative effective context length, from {comparison['positions']:,} "
        f"positions and contexts of {comparison['contexts'][0]} to "
        f"{comparison['contexts'][-1]} tokens",
        "".join(
            [
                " " * (width + 2),
                *(f"{f'r = {top}':>10}" for top in tops),
                "  loss at the longest, nats",
            ]
        ),
    ]
    for model in models:
        lengths = [
            f"{'>= ' * found['is_limit']}{found['length']}"
            for found in model["recl"].values()
        ]
        lines.append(
            f"  {model['run_dir']:<{width}}"
            + "".join(f"{length:>10}" for length in lengths)
            + f"  {model['losses'][-1]:.4f}"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    launch(Options, recl)
