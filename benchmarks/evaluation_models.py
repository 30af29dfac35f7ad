"""Transformer-XL as it is evaluated, and what is compared with it."""

from collections.abc import Callable
from collections.abc import Mapping

import keras
import numpy as np
from keras import ops

from keras_xf import models


def build_evaluated(sizes: Mapping, weights: Mapping) -> keras.Model:
    """Builds the model whose evaluation is timed.

    Args:
        sizes: `implementation`, "transformer_xl" or "transformer", the base
            Transformer; `method`, `length`, `memory_length` and
            `clamp_length`; and what `weights` are made for.
        weights: As `evaluation_inputs.evaluation_weights` makes them. The
            base Transformer takes none.

    Returns:
        The model: with a memory, or without if `method` is "window".
    """
    names = ("vocabulary_size", "num_layers", "hidden_dim", "num_heads")
    names += ("intermediate_dim",)
    arguments = {name: sizes[name] for name in names}
    if sizes["implementation"] == "transformer":
        return models.build_language_model(**arguments, dropout=0.0, seed=0)
    is_window = sizes["method"] == "window"
    model = models.build_transformer_xl(
        **arguments,
        dropout=0.0,
        memory_length=0 if is_window else sizes["memory_length"],
        attention_window=None if is_window else sizes["memory_length"],
        clamp_length=sizes["clamp_length"],
        seed=0,
    )
    assign_weights(model, weights)
    return model


def assign_weights(model: keras.Model, weights: Mapping) -> None:
    """Gives a model of `build_transformer_xl` what all contestants have.

    Args:
        model: The model, of one bin and biases that its layers share.
        weights: As `evaluation_inputs.evaluation_weights` makes them.
    """
    model.get_layer("embedding").tables[0].assign(weights["embedding"])
    for bias in model.get_layer("biases").weights:
        bias.assign(weights[bias.name])
    for index in range(len(weights["query"])):
        kernels = {
            name: values[index]
            for name, values in weights.items()
            if isinstance(values, list)
        }
        attention = model.get_layer(f"attention_{index}").layer
        # A head's key, then its value, head by head.
        key_value = np.concatenate(
            [
                np.reshape(kernels[name], (-1, attention.num_heads, width))
                for name, width in (
                    ("key", attention.key_dim),
                    ("value", attention.key_dim),
                )
            ],
            axis=-1,
        )
        feed_forward = model.get_layer(f"feed_forward_{index}").layer
        for dense, kernel in (
            (attention.query, kernels["query"]),
            (attention.key_value, key_value.reshape(len(key_value), -1)),
            (attention.position, kernels["position"]),
            (attention.output_projection, kernels["output"]),
            (feed_forward.widen, kernels["widen"]),
            (feed_forward.narrow, kernels["narrow"]),
        ):
            dense.kernel.assign(kernel)


def evaluation_step(
    model: keras.Model, sizes: Mapping
) -> tuple[Callable, object]:
    """How a model evaluates what comes next.

    Args:
        model: As `build_evaluated` returns it.
        sizes: `method`: "memory", of keys and values, "hidden", of hidden
            states that are projected again, or "window"; and others, as in
            `build_evaluated`.

    Returns:
        The pair of a function of ids, targets, both int32 `(1, length)`, and
        a state, to negative log-likelihoods and the state after them, and of
        the first state. A window has one number, that of its last target.
    """
    return {"memory": _memory, "hidden": _hidden, "window": _window}[
        sizes["method"]
    ](model, sizes)


def _memory(model, sizes):
    twin = models.build_transformer_xl_step(model)

    def step(token_ids, target_ids, state):
        return twin.nll(token_ids, state, target_ids)

    state = twin.initial_state(
        1,
        max_length=sizes["memory_length"],
        new_length=sizes["segment_length"],
    )
    return step, state


def _hidden(model, sizes):
    def step(token_ids, target_ids, state):
        outputs = model(
            {
                "token_ids": token_ids,
                "length": _length(token_ids),
                **state,
            }
        )
        state = {name: outputs[name] for name in state}
        return _losses(outputs["log_probs"], target_ids), state

    memory = sizes["memory_length"]
    state = {
        "memory": ops.zeros(
            (1, sizes["num_layers"], memory, sizes["hidden_dim"])
        ),
        # Zeros that are attended to, as the peers have them.
        "memory_length": ops.full((1,), memory, "int32"),
    }
    return step, state


def _window(model, sizes):
    if sizes["implementation"] == "transformer":
        return _transformer_window(model)
    # Of all positions, the last one alone has its log-probabilities made.
    hidden = keras.Model(model.input, model.get_layer("dropout").output)
    embedding = model.get_layer("embedding")
    softmax = model.get_layer("softmax")
    empty = models.initial_memory(model, batch_size=1)

    def step(token_ids, target_ids, state):
        inputs = {"token_ids": token_ids, "length": _length(token_ids)}
        x = hidden({**inputs, **empty})
        _, tables = embedding(token_ids[:, -1:], return_tables=True)
        nll = softmax(x[:, -1:], tables=tables, target_ids=target_ids[:, -1:])
        return nll, state

    return step, ()


def _transformer_window(model):
    def step(token_ids, target_ids, state):
        logits = model({"token_ids": token_ids, "length": _length(token_ids)})[
            "logits"
        ]
        log_probs = ops.log_softmax(logits[:, -1:])
        return _losses(log_probs, target_ids[:, -1:]), state

    return step, ()


def _length(token_ids):
    return ops.full((1,), token_ids.shape[1], "int32")


def _losses(log_probs, target_ids):
    return -ops.take_along_axis(log_probs, target_ids[..., None], axis=-1)[
        ..., 0
    ]
