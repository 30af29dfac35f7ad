"""Models from `.keras` files that a user names."""

from pathlib import Path

import keras

from keras_xf.checks import check


def load_model(path: Path, flag: str) -> keras.Model:
    """Loads a model, not compiled.

    Args:
        path: A `.keras` file.
        flag: The option that led to it, for the error message.

    Raises:
        ValueError: If the file cannot be read as a model.
    """
    try:
        return keras.saving.load_model(path, compile=False)
    except Exception as error:
        # Keras lets through whatever zip, JSON and HDF5 raise.
        check(
            False,
            f"`{flag}` must lead to a Keras model that can be read.",
            path=str(path),
            error=f"{type(error).__name__}: {error}",
        )
