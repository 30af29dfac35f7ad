"""Options of how a model with a memory reads a text."""

import dataclasses

from apps.language_model.train import Options as TrainOptions
from keras_xf.checks import check
from keras_xf.launch import option


@dataclasses.dataclass(frozen=True, kw_only=True)
class StreamOptions:
    """Options of a stream; a run's validation says what is left out."""

    segment_length: int | None = option(
        "Stream: tokens of a row at once; as in the run's validation if none.",
        None,
    )
    memory_length: int | None = option(
        "Stream: positions before a segment that each layer sees; as in the "
        "run's validation if none.",
        None,
    )
    attention_window: int | None = option(
        "Stream: positions that each position sees in a layer, itself the "
        "first; memory_length if none, without limit if 0.",
        None,
    )
    clamp_length: int | None = option(
        "Transformer_xl: distances beyond it count as it; as in the run's "
        "validation if none, without limit if 0.",
        None,
    )

    def __post_init__(self):
        check(
            self.segment_length is None or self.segment_length > 0,
            "`segment_length` must be positive.",
            segment_length=self.segment_length,
        )
        for name in ("memory_length", "attention_window", "clamp_length"):
            value = getattr(self, name)
            check(
                value is None or value >= 0,
                f"`{name}` must not be negative.",
                **{name: value},
            )

    def stream_settings(self, train_options: TrainOptions) -> dict:
        """Returns how a stream is read, as `score_streams` takes it.

        Args:
            train_options: Those of the run.
        """
        settings = train_options.evaluation
        if self.memory_length is not None:
            settings["memory_length"] = self.memory_length
            settings["attention_window"] = self.memory_length or None
        if self.attention_window is not None:
            settings["attention_window"] = self.attention_window or None
        if self.segment_length is not None:
            settings["segment_length"] = self.segment_length
        if self.clamp_length is not None:
            settings["clamp_length"] = self.clamp_length or None
        return settings
