"""The programs that are lowered: what they compute, of what, and how much."""

import functools
from collections.abc import Mapping

import keras
import numpy as np
import tensorflow as tf

from benchmarks import attention_work
from benchmarks.attention_layers import build_attention
from benchmarks.branch_blocks import block_flops
from benchmarks.branch_blocks import build_block
from benchmarks.branch_blocks import compile_block
from benchmarks.flops import causal_pairs
from benchmarks.flops import forward_flops
from benchmarks.lowering import LoweredProgram
from benchmarks.lowering import lower
from benchmarks.pure_steps import build_training_step
from benchmarks.pure_steps import call_purely
from benchmarks.reformer_models import build_reformer
from benchmarks.reformer_models import compile_reformer
from benchmarks.stock_keras import build_stock_language_model
from benchmarks.workers.attention_inputs import attention_inputs
from benchmarks.workers.token_batches import token_batch
from keras_xf import layers
from keras_xf import models
from keras_xf.ops import attention


def lower_case(case: str, sizes: Mapping, platform: str) -> LoweredProgram:
    """Lowers one of `CASES`.

    Args:
        case: Its name.
        sizes: `vocabulary_size`, `num_layers`, `hidden_dim`, `num_heads`,
            `intermediate_dim`, `dropout`, `batch_size`, `length`, and `dtype`,
            a Keras dtype policy; `chunk_length` of LSH attention, and of a
            Reformer also `num_hashes` and `feed_forward_chunk`.
        platform: What to lower for, "CPU" or "GPU".

    Returns:
        The program, with sizes and useful operations among its notes.
    """
    settings = CASES[case](sizes)
    notes = {
        "case": case,
        "sizes": dict(sizes),
        "dtype": sizes["dtype"],
        **settings.pop("notes"),
    }
    return lower(
        **settings,
        notes=notes,
        platform=platform,
        name=f"{case}_{platform.lower()}_{sizes['length']}",
    )


def _training_step(sizes):
    """Our language model's, with Adam."""
    settings = _language_model_step(models.build_language_model, sizes)
    if sizes["dtype"] == "float32":
        settings["notes"]["torch_peer"] = "training_step"
    return settings


def _stock_training_step(sizes):
    """The same of stock Keras layers."""
    return _language_model_step(build_stock_language_model, sizes)


def _decode_step(sizes):
    """One more token for each row, the last that the cache has room for."""
    model = _build(models.build_language_model, sizes)
    step_model = models.build_language_model_step(model)
    batch_size, length = sizes["batch_size"], sizes["length"]

    def step(values, token_ids, state):
        return call_purely(
            lambda: step_model.step(token_ids, state), model.variables, values
        )[0]

    random = np.random.default_rng(0)
    state = keras.tree.map_structure(
        lambda x: tf.cast(random.standard_normal(x.shape), x.dtype),
        step_model.initial_state(batch_size, length),
    )
    state["position"] = tf.fill([batch_size], length - 1)
    return {
        "function": step,
        "arguments": [
            [v.value for v in model.variables],
            token_batch(sizes)[0][:, -1:],
            state,
        ],
        "notes": {
            "flops": forward_flops(sizes, batch_size, batch_size * length)
        },
    }


def _attention(sizes):
    """Causal attention and its gradients, without the projections."""
    dim = sizes["hidden_dim"] // sizes["num_heads"]
    shape = (sizes["batch_size"], sizes["num_heads"], sizes["length"], dim)
    dtype = keras.DTypePolicy(sizes["dtype"]).compute_dtype
    random = np.random.default_rng(0)
    arrays = [tf.cast(random.standard_normal(shape), dtype) for _ in range(4)]

    def attend(query, key, value, upstream):
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch([query, key, value])
            outputs = attention.attend(query, key, value, causal=True)
        gradients = tape.gradient(
            outputs, [query, key, value], output_gradients=upstream
        )
        return outputs, gradients

    pairs = causal_pairs(sizes["batch_size"], sizes["length"])
    return {
        "function": attend,
        "arguments": arrays,
        # Two products forward, and two backward of each.
        "notes": {"flops": 3 * 4 * pairs * sizes["hidden_dim"]},
    }


def _attention_layer(sizes, num_hashes, training):
    """A layer with its projections, LSH attention if there are hashes."""
    sizes = {**sizes, "num_hashes": num_hashes}
    layer, attend = build_attention("lsh" if num_hashes else "dense", sizes)
    dtype = layer.compute_dtype
    inputs, upstream = (
        tf.cast(array, dtype) for array in attention_inputs(sizes)
    )
    num_trainable = len(layer.trainable_variables)
    variables = [*layer.trainable_variables, *layer.non_trainable_variables]

    def forward(values, inputs):
        return call_purely(
            lambda: attend(inputs, training=False), variables, values
        )[0]

    def forward_and_backward(values, inputs, upstream):
        sources = [inputs, *values[:num_trainable]]
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(sources)
            outputs, _ = call_purely(
                lambda: attend(inputs, training=True), variables, values
            )
        return outputs, tape.gradient(
            outputs, sources, output_gradients=upstream
        )

    count = (
        attention_work.lsh_flops if num_hashes else attention_work.dense_flops
    )
    notes = {"num_hashes": num_hashes, "flops": count(sizes, training)}
    if not num_hashes and sizes["dtype"] == "float32":
        notes["torch_peer"] = {
            "script": "torch_attention",
            "case": "training" if training else "forward",
            "settings": {"implementation": "sdpa"},
        }
    values = [variable.value for variable in variables]
    return {
        "function": forward_and_backward if training else forward,
        "arguments": [values, inputs, *([upstream] if training else [])],
        "notes": notes,
    }


def _reformer_step(sizes, reversible):
    """A training step of a Reformer with Adam."""
    model = build_reformer({**sizes, "reversible": reversible})
    compile_reformer(model)
    rows, dim = sizes["batch_size"] * sizes["length"], sizes["hidden_dim"]
    blocks = sizes["num_layers"] * (
        attention_work.lsh_flops(sizes, training=True)
        # Two products, each with two in the backward pass.
        + 3 * 2 * rows * 2 * dim * sizes["intermediate_dim"]
    )
    # Logits are made of both streams.
    logits = 3 * 2 * rows * 2 * dim * sizes["vocabulary_size"]
    token_ids, targets = token_batch(sizes)
    return _step_of(
        model, {"token_ids": token_ids}, targets, flops=blocks + logits
    )


def _block_step(sizes, implementation):
    """A training step of a block with Adam."""
    model = build_block(implementation, sizes)
    compile_block(model)
    inputs, targets = attention_inputs(sizes)
    flops = block_flops(sizes)
    return _step_of(model, {"inputs": inputs}, targets, flops, output="outputs")


def _quantization_step(sizes):
    """A training step of `VQEMA`, with as many codes as a vocabulary has."""
    layer = layers.VQEMA(sizes["vocabulary_size"], seed=0, dtype=sizes["dtype"])
    inputs, upstream = attention_inputs(sizes)
    layer.build(inputs.shape)
    # Metrics are in no list of a layer's own.
    variables = [*layer.variables, *layer.metrics_variables]
    variables = list({id(each): each for each in variables}.values())

    def step(values, inputs, upstream):
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(inputs)
            outputs, new_values = call_purely(
                lambda: layer(inputs, training=True), variables, values
            )
        gradient = tape.gradient(outputs, inputs, output_gradients=upstream)
        return outputs, gradient, new_values

    rows = sizes["batch_size"] * sizes["length"]
    distances = 2 * rows * sizes["hidden_dim"] * sizes["vocabulary_size"]
    return {
        "function": step,
        "arguments": [
            [each.value for each in variables],
            tf.constant(inputs),
            tf.constant(upstream),
        ],
        "notes": {"flops": distances},
    }


CASES = {
    "quantization_step": _quantization_step,
    "training_step": _training_step,
    "stock_training_step": _stock_training_step,
    "decode_step": _decode_step,
    "attention": _attention,
    "reformer_step": functools.partial(_reformer_step, reversible=True),
    "irreversible_reformer_step": functools.partial(
        _reformer_step, reversible=False
    ),
    # Blocks of attention and feed-forward, in branches or whole.
    **{
        f"{name.replace(' ', '_')}_block_step": functools.partial(
            _block_step, implementation=name
        )
        for name in (
            *("standard", "folded", "unfolded"),
            *("loop", "loop of heads", "stock"),
        )
    },
    # One layer with its projections.
    **{
        f"{f'lsh_{num_hashes}' if num_hashes else 'dense'}_{direction}": (
            functools.partial(
                _attention_layer,
                num_hashes=num_hashes,
                training=direction == "training",
            )
        )
        for num_hashes in (0, 1, 2, 4, 8)
        for direction in ("forward", "training")
    },
}

_MODEL_SIZES = (
    "vocabulary_size",
    "num_layers",
    "hidden_dim",
    "num_heads",
    "intermediate_dim",
    "dropout",
    "dtype",
)


def _build(builder, sizes):
    return builder(**{name: sizes[name] for name in _MODEL_SIZES}, seed=0)


def _language_model_step(builder, sizes):
    model = _build(builder, sizes)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(1e-3), loss={"logits": loss})
    token_ids, targets = token_batch(sizes)
    batch_size, length = token_ids.shape
    inputs = {
        "token_ids": token_ids,
        "length": np.full(batch_size, length, "int32"),
    }
    pairs = causal_pairs(batch_size, length)
    # Each product has two in the backward pass.
    flops = 3 * forward_flops(sizes, batch_size * length, pairs)
    return _step_of(model, inputs, targets, flops)


def _step_of(model, inputs, targets, flops, output="logits"):
    step, variables = build_training_step(model)
    return {
        "function": step,
        "arguments": [variables, (inputs, {output: targets})],
        "feedback": {1: 0},
        "notes": {"flops": flops},
    }
