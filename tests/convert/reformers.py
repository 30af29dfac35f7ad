"""What was recorded of Hugging Face's Reformers, for the tests beside this."""

import json

from tests.recorded_arrays import under


def config_of(arrays):
    """The configuration of a recorded case."""
    return json.loads(bytes(arrays["config"].tolist()))


def rotations_of(arrays):
    """The rotations that each LSH layer drew."""
    arrays = under(arrays, "rotations")
    return [arrays[str(index)] for index in range(len(arrays))]


def lsh_layers(model):
    """A converted model's layers that take rotations."""
    layers = [f.layer for f, _ in model.get_layer("stack").layer.blocks]
    return [layer for layer in layers if hasattr(layer, "rotations")]
