"""Reformers whose rotations are weights, for where nothing may be drawn."""

import keras

from keras_xf.layers import LSHSelfAttention
from keras_xf.models.reversible_stack import blocks_of


def fix_rotations(model: keras.Model) -> keras.Model:
    """Returns a model that computes the same and draws nothing in inference.

    An LSH layer draws, at each call in inference, the same rotations from a
    seed that it keeps. In what this function returns they are weights: a served
    graph then has no operation that draws random numbers, and less to do. Such
    a model hashes by the same rotations in training too, and cannot be made a
    variant of with more hashes.

    Args:
        model: A model of any builder. One without LSH layers is returned as it
            is.

    Returns:
        A model with copies of the weights.
    """
    if all(layer.injected_rotations for layer in _lsh_layers(model)):
        return model
    fixed = type(model).from_config(_inject(model.get_config()))
    pairs = [
        pair
        for pair in zip(_lsh_layers(model), _lsh_layers(fixed), strict=True)
        if not pair[0].injected_rotations
    ]
    for layer, new_layer in pairs:
        new_layer.rotations.assign(layer.inference_rotations())
    seeds = {id(layer.hash_seed) for layer, _ in pairs}
    rotations = {id(layer.rotations) for _, layer in pairs}
    for weight, new_weight in zip(
        [weight for weight in model.weights if id(weight) not in seeds],
        [weight for weight in fixed.weights if id(weight) not in rotations],
        strict=True,
    ):
        new_weight.assign(weight)
    return fixed


def _lsh_layers(model):
    """The LSH layers in the stack of a Reformer; none of other models."""
    return [
        f.layer
        for stack in model.layers
        if stack.name == "stack"
        for f, _ in blocks_of(stack)
        if isinstance(f.layer, LSHSelfAttention)
    ]


def _inject(config):
    """Returns a configuration whose LSH layers take their rotations."""
    if isinstance(config, list | tuple):
        return type(config)(map(_inject, config))
    if not isinstance(config, dict):
        return config
    config = {name: _inject(value) for name, value in config.items()}
    if config.get("class_name") == "LSHSelfAttention":
        config["config"] = {**config["config"], "injected_rotations": True}
    return config
