"""Translates lines with a model, whatever their number and lengths."""

import dataclasses
from collections.abc import Callable
from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from apps.training import RunDirectory
from apps.training.model_file import load_model
from apps.translation.pairs import encode_lines
from apps.translation.pairs import side_of
from keras_xf import decoding
from keras_xf import models
from keras_xf.checks import check
from keras_xf.text import Tokenizer
from keras_xf.text import load_tokenizer
from keras_xf.text import unwritten_ids


@dataclasses.dataclass(frozen=True)
class Hypothesis:
    """A translation.

    Attributes:
        text: The line.
        score: Its log-probability over the length penalty.
    """

    text: str
    score: float


class Translator:
    """Beam search over lines, those of like length together.

    A translation is a line, too: no token is written that would end it.

    Args:
        model: A model of `build_sequence_to_sequence`, or of
            `build_weighted_transformer`, whose branches are folded.
        model_json: Name and arguments of its builder.
        tokenizers: Those of source and target, by the folders of a run.
        num_beams: Unfinished hypotheses that are followed.
        num_hypotheses: How many translations a line gets.
        length_penalty: As `beam_search` takes it.
        max_new_tokens: Most tokens of a translation, EOS counted.
        batch_size: Lines at once.
    """

    def __init__(
        self,
        model: keras.Model,
        model_json: dict,
        tokenizers: dict[str, Tokenizer],
        *,
        num_beams: int = 5,
        num_hypotheses: int = 1,
        length_penalty: float = 0.6,
        max_new_tokens: int = 128,
        batch_size: int = 64,
    ):
        model = models.for_inference(model_json, model)
        self._twin = models.build_step(model_json, model)
        self._source = side_of(tokenizers, "source")
        self._target = side_of(tokenizers, "target")
        self._options = {
            "num_beams": num_beams,
            "num_hypotheses": num_hypotheses,
            "length_penalty": length_penalty,
            "max_new_tokens": max_new_tokens,
            "suppressed_ids": unwritten_ids(self._target),
        }
        limit = self._twin.max_length
        check(
            limit is None or max_new_tokens <= limit,
            "`max_new_tokens` must not be more than the model has positions.",
            max_new_tokens=max_new_tokens,
            max_length=limit,
        )
        self._max_length = limit
        self._batch_size = batch_size
        self._search = tf.function(
            self._run,
            input_signature=[
                tf.TensorSpec([None, None], tf.int32),
                tf.TensorSpec([None], tf.int32),
            ],
            autograph=False,
        )

    def __call__(self, lines: Sequence[str]) -> list[list[Hypothesis]]:
        """Translates lines.

        Args:
            lines: Strings.

        Returns:
            For each line, in their order, its translations, the best first. An
            empty line is one empty translation.

        Raises:
            ValueError: If a line has more tokens than the model positions.
        """
        rows = encode_lines(list(lines), self._source)
        for number, row in enumerate(rows, 1):
            check(
                self._max_length is None or len(row) < self._max_length,
                "`lines` must not have more tokens than the model positions.",
                line=number,
                tokens=len(row),
                max_length=self._max_length,
            )
        found = [[Hypothesis("", 0.0)] for _ in rows]
        # Those without tokens have nothing to translate.
        order = sorted(
            (place for place, row in enumerate(rows) if len(row)),
            key=lambda place: len(rows[place]),
        )
        for start in range(0, len(order), self._batch_size):
            places = order[start : start + self._batch_size]
            hypotheses = self._translate([rows[place] for place in places])
            for place, each in zip(places, hypotheses, strict=True):
                found[place] = each
        return found

    def _translate(self, rows):
        length = np.array([len(row) for row in rows], np.int32)
        token_ids = np.zeros((len(rows), length.max()), np.int32)
        for place, row in enumerate(rows):
            token_ids[place, : len(row)] = row
        results = self._search(token_ids, length)
        texts = self._target.decode(results["token_ids"], results["length"])
        return [
            [
                Hypothesis(text.decode(), float(score))
                for text, score in zip(line, scores, strict=True)
                if np.isfinite(score)
            ]
            for line, scores in zip(
                texts.numpy(), results["score"].numpy(), strict=True
            )
        ]

    def _run(self, token_ids, length):
        return decoding.translate(
            self._twin,
            self._twin.initial_state,
            token_ids,
            length,
            **self._options,
        )


def load_translator(
    run_dir: str,
    model_file: str | None,
    change: Callable[[keras.Model], None] | None = None,
    **options,
):
    """Loads a run's model and tokenizers.

    Args:
        run_dir: The run directory.
        model_file: A `.keras` file of the run's model; that of the run if None.
        change: Changes the model before it is used.
        **options: As `Translator` takes them.

    Raises:
        ValueError: If the run directory or a file is missing or wrong.
    """
    run = RunDirectory(run_dir)
    run.check_trained("translation model")
    tokenizers = {
        name: load_tokenizer(run.path / name)
        for name in ("text", "source_text", "target_text")
        if (run.path / name).is_dir()
    }
    model = load_model(model_file or run.model, "model_file")
    if change is not None:
        change(model)
    return Translator(model, run.read_model_json(), tokenizers, **options)
