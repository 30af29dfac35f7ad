"""The training of language models, which can be told to die."""

import dataclasses
import functools

from apps.language_model import train
from keras_xf.launch import option
from tests.apps.training_program import plant
from tests.apps.training_program import serve


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(train.Options):
    """Options with a fault to plant, as `training_program.plant` takes it."""

    fault: str | None = option("What goes wrong.", None)


def main(options):
    """Trains with the fault."""
    with plant(options.fault) as callbacks:
        # A process of its own: nobody else meets this `fit`.
        train.fit = functools.partial(train.fit, callbacks=callbacks)
        train.train(options)


if __name__ == "__main__":
    serve(Options, main)
