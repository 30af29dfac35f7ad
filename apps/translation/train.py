r"""Trains a translation model on pairs of lines.

Usage:

    python -m apps.translation.train --run_dir=runs/numbers

    python -m apps.translation.train --run_dir=runs/mine \
        --source_files=train.en --target_files=train.de \
        --validation_source_files=val.en --validation_target_files=val.de

The first learns to spell in German the numbers that it reads in English words,
made at run time by the package num2words. With `--model=weighted_transformer`
heads are branches with weights of their own. Options can also stand in a file,
one flag per line, such as `--flagfile=apps/translation/demo.flags`. The same
command started again goes on where it was cut off. What branches weigh over
the training is written into the run directory, `branch_weights.csv` and `.png`.
"""

import dataclasses
import functools
import hashlib
import json
from pathlib import Path

from absl import logging

from apps.training import Result
from apps.training import TrainingOptions
from apps.training import check_can_plot
from apps.training import fit
from apps.training import prepare
from apps.training import report_end
from apps.training.owned_options import check_left_out
from apps.translation.architecture import BRANCH_RATES
from apps.translation.architecture import ArchitectureOptions
from apps.translation.branch_plot import plot_branch_weights
from apps.translation.pairs import PairOptions
from apps.translation.pairs import side_of
from keras_xf import models
from keras_xf.callbacks import BranchWeightsFile
from keras_xf.checks import check
from keras_xf.data.token_pairs import BucketedPairs
from keras_xf.data.token_pairs import scored_pairs
from keras_xf.launch import launch
from keras_xf.launch import option
from keras_xf.losses import SmoothedCrossEntropy
from keras_xf.metrics import BitsPerToken
from keras_xf.optimizers import make_branch_group


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(TrainingOptions, ArchitectureOptions, PairOptions):
    """Options of the training."""

    # Data.
    batch_tokens: int = option(
        "Tokens of a batch on each side, padding counted.", 2048
    )
    length_buckets: tuple[int, ...] = option(
        "Lengths that sentences are padded to; longer ones are left out.",
        (8, 16, 24, 32, 48, 64, 96, 128),
    )
    label_smoothing: float = option(
        "Fraction of the labels that may be any token.", 0.1
    )
    # Branch weights.
    branch_learning_rate: float | None = option(
        "Weighted_transformer: highest rate of branch weights; as the paper "
        "has it if none.",
        None,
    )
    branch_warmup_steps: int | None = option(
        "Weighted_transformer: steps in which it rises; a hundredth of all if "
        "none.",
        None,
    )
    branch_steps: int | None = option(
        "Weighted_transformer: steps after which branch weights stay as they "
        "are; 85 percent of all if none.",
        None,
    )

    def __post_init__(self):
        TrainingOptions.__post_init__(self)
        PairOptions.__post_init__(self)
        ArchitectureOptions.__post_init__(self)
        default = TrainingOptions.__dataclass_fields__["batch_size"].default
        check(
            self.batch_size == default,
            "`batch_size` must be left out: `batch_tokens` is the size.",
            batch_size=self.batch_size,
        )
        check(
            0 <= self.label_smoothing < 1,
            "`label_smoothing` must lie in [0, 1).",
            label_smoothing=self.label_smoothing,
        )
        check(
            self.max_length is None
            or self.max_length >= self.length_buckets[-1],
            "`max_length` must not be less than the last of `length_buckets`.",
            max_length=self.max_length,
            length_buckets=self.length_buckets,
        )
        if self.weighting == "fixed":
            kind = "model of fixed branch weights"
            check_left_out(self, BRANCH_RATES, kind)
        for name in BRANCH_RATES:
            value = getattr(self, name)
            check(
                value is None or value > 0,
                f"`{name}` must be positive.",
                **{name: value},
            )


def train(options: Options) -> Result:
    """Trains, or goes on training, in the run directory.

    Args:
        options: The options.

    Returns:
        The result; the run directory holds all that it left.

    Raises:
        ValueError: If an option or a file is wrong, or the run directory is
            of another model or of other data.
    """
    check_can_plot(options.run_dir)
    prepare(options)
    pairs = options.read("train")
    validation = options.read("validation")
    tokenizers = options.make_tokenizers(pairs)
    source, target = (side_of(tokenizers, s) for s in ("source", "target"))
    batches = BucketedPairs(
        *pairs.encode(tokenizers),
        batch_tokens=options.batch_tokens,
        buckets=options.length_buckets,
        seed=options.seed,
    )
    logging.info(
        "training text: %d pairs, %d of them too long, %d and %d kinds of "
        "tokens, %d steps an epoch",
        len(pairs.sources),
        batches.num_left_out,
        source.vocabulary_size,
        target.vocabulary_size,
        batches.steps_per_epoch,
    )
    fingerprint = {
        "train_sha256": pairs.sha256,
        "batch_tokens": options.batch_tokens,
        "length_buckets": options.length_buckets,
        # Of all that tells ids: options, and the package that learned pieces.
        "tokenizers_sha256": {
            name: _sha256(tokenizer.get_config())
            for name, tokenizer in tokenizers.items()
        },
    }
    make_validation_set = None
    if validation is not None:
        fingerprint["validation_sha256"] = validation.sha256
        sides = validation.encode(tokenizers)
        longest = 1 + max(len(ids) for side in sides for ids in side)
        check(
            options.max_length is None or longest <= options.max_length,
            "`max_length` must not be less than the longest line to validate "
            "on, EOS counted.",
            max_length=options.max_length,
            longest=longest,
        )
        make_validation_set = functools.partial(
            scored_pairs,
            *sides,
            # Rows do not depend on each other, and these have no gradient.
            batch_tokens=2 * options.batch_tokens,
            buckets=options.length_buckets,
        )

    def write_files(folder):
        for name, tokenizer in tokenizers.items():
            tokenizer.save(folder / name)

    result = fit(
        options,
        model_json=options.describe(
            vocabulary_size=target.vocabulary_size,
            source_vocabulary_size=(
                None if options.joint_vocabulary else source.vocabulary_size
            ),
            seed=options.seed,
        ),
        make_train_set=batches.dataset,
        make_validation_set=make_validation_set,
        loss={"logits": SmoothedCrossEntropy(options.label_smoothing)},
        make_metrics=lambda: {"logits": [BitsPerToken()]},
        make_groups=lambda: _make_groups(options),
        callbacks=_branch_weights_file(options),
        # Counts tokens alike on one device and on many, unlike the loss.
        monitor="val_bits_per_token",
        data_fingerprint=fingerprint,
        write_files=write_files,
    )
    report_end(options.run_dir, result)
    path = _branch_weights_path(options)
    # Runs of earlier versions have none.
    if _learns_branch_weights(options) and path.exists():
        plot_branch_weights(path, path.with_suffix(".png"))
    return result


def _sha256(config):
    text = json.dumps(config, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _learns_branch_weights(options):
    return options.model != "transformer" and options.weighting != "fixed"


def _branch_weights_path(options):
    return Path(options.run_dir) / "branch_weights.csv"


def _branch_weights_file(options):
    if not _learns_branch_weights(options):
        return []
    path = _branch_weights_path(options)
    return [BranchWeightsFile(path, models.branch_weights)]


def _make_groups(options):
    """The optimizer of branch weights, if they are learned."""
    if not _learns_branch_weights(options):
        return None
    return make_branch_group(
        hidden_dim=options.hidden_dim,
        num_layers=options.num_layers,
        total_steps=options.train_steps,
        warmup_steps=options.branch_warmup_steps,
        free_steps=options.branch_steps,
        learning_rate=options.branch_learning_rate,
    )


if __name__ == "__main__":
    launch(Options, train)
