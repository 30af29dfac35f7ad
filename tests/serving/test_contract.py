"""Tests of keras_xf.serving.contract: each rule, broken once."""

import numpy as np
import pytest
import tensorflow as tf

from keras_xf.serving import contract_violations
from keras_xf.serving import signature_table

X = tf.TensorSpec([None, 2], tf.float32, "x")


class Counter(tf.Module):
    """Something to save, with a variable and two functions of XLA and not."""

    def __init__(self):
        self.count = tf.Variable(0.0)

    @tf.function(autograph=False)
    def add_up(self, x):
        # Nested, as it would be in a layer of a model.
        return tf.cond(
            tf.reduce_any(x > 0),
            lambda: self.count.assign_add(1.0),
            lambda: self.count.read_value(),
        )


def save(folder, function, specs=(X,), name="serving_default"):
    """Saves `function(module, *specs)` as the only signature."""
    module = Counter()

    @tf.function(input_signature=specs, autograph=False)
    def signature(*tensors):
        return function(module, *tensors)

    tf.saved_model.save(module, str(folder), signatures={name: signature})
    return folder


def violations(folder, function, specs=(X,), **options):
    return contract_violations(save(folder, function, specs), **options)


def test_a_signature_that_keeps_the_contract_has_no_violation(tmp_path):
    found = violations(
        tmp_path,
        lambda module, x: {
            # Reading a variable is no offense.
            "y": x * module.count,
            "ids": tf.cast(x, tf.int32),
            "text": tf.strings.as_string(x),
        },
        core_ops_only=True,
    )
    assert found == []


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (
            lambda _, x: {"y": tf.cast(x, tf.bfloat16)},
            "`serving_default`: output `y` has the dtype bfloat16, not one of "
            "float32, int32, string.",
        ),
        (
            lambda _, x: {"y": tf.reduce_sum(x)},
            "`serving_default`: output `y` has the shape [], without an open "
            "first axis.",
        ),
        (
            lambda _, x: {"y": tf.reshape(tf.reduce_sum(x), [1])},
            "`serving_default`: output `y` has the shape [1], without an open "
            "first axis.",
        ),
        (
            lambda _, x: {"y": tf.RaggedTensor.from_tensor(x)},
            "`serving_default`: output `y` is not dense.",
        ),
        (
            lambda _, x: {"y": tf.numpy_function(np.sqrt, [x], tf.float32)},
            "`serving_default`: output `y` has no known rank.",
        ),
        (
            lambda _, x: {
                "y": tf.ensure_shape(
                    tf.numpy_function(np.sqrt, [x], tf.float32), [None, 2]
                )
            },
            "PyFunc runs in this Python process alone.",
        ),
        (
            lambda _, x: {
                "y": tf.ensure_shape(
                    tf.py_function(tf.sqrt, [x], tf.float32), [None, 2]
                )
            },
            "EagerPyFunc runs in this Python process alone.",
        ),
        (
            lambda _, x: {"y": tf.function(tf.sqrt, jit_compile=True)(x)},
            "A function must be compiled by XLA.",
        ),
        (
            lambda module, x: {"y": x * module.add_up(x)},
            "`serving_default`: AssignAddVariableOp writes a variable.",
        ),
    ],
)
def test_finds(tmp_path, function, expected):
    assert expected in violations(tmp_path, function)


def test_finds_a_closed_batch_axis_of_an_input(tmp_path):
    found = violations(
        tmp_path,
        lambda _, x: {"y": tf.boolean_mask(x, x[:, 0] > 0)},
        specs=[tf.TensorSpec([1, 2], tf.float32, "x")],
    )
    assert found == [
        "`serving_default`: input `x` has the shape [1, 2], without an open "
        "first axis."
    ]


def test_finds_that_a_signature_is_missing(tmp_path):
    save(tmp_path, lambda _, x: {"y": x}, name="generate")
    found = contract_violations(
        tmp_path, signatures=["serving_default", "generate"]
    )
    assert found == ["There is no signature `serving_default`."]


def test_finds_operations_of_other_libraries(tmp_path):
    tensorflow_text = pytest.importorskip("tensorflow_text")

    def split(_, text):
        tokens = tensorflow_text.WhitespaceTokenizer().tokenize(text)
        return {"tokens": tokens.to_tensor()}

    save(tmp_path, split, specs=[tf.TensorSpec([None], tf.string, "text")])
    assert contract_violations(tmp_path) == []
    found = contract_violations(tmp_path, core_ops_only=True)
    assert found == [
        "TFText>WhitespaceTokenizeWithOffsetsV2 is not an operation of "
        "TensorFlow itself."
    ]


def test_reads_the_table_of_signatures(tmp_path):
    save(
        tmp_path,
        lambda _, x, ids: {
            "y": x,
            "z": tf.RaggedTensor.from_tensor(ids),
        },
        specs=[X, tf.TensorSpec([None, None], tf.int32, "ids")],
    )
    assert signature_table(tmp_path) == {
        "serving_default": {
            "inputs": {
                "x": {"dtype": "float32", "shape": [None, 2]},
                "ids": {"dtype": "int32", "shape": [None, None]},
            },
            "outputs": {
                "y": {"dtype": "float32", "shape": [None, 2]},
                "z": {"dtype": None, "shape": None},
            },
        }
    }


def test_a_directory_without_a_saved_model_is_refused(tmp_path):
    with pytest.raises(ValueError) as error:
        contract_violations(tmp_path)
    assert str(error.value) == (
        "`saved_model_dir` must hold a file saved_model.pb. "
        f"Received: saved_model_dir={str(tmp_path)!r}."
    )


def test_a_saved_model_without_the_tag_is_refused(tmp_path):
    save(tmp_path, lambda _, x: {"y": x})
    path = tmp_path / "saved_model.pb"
    path.write_bytes(path.read_bytes().replace(b"serve", b"train", 1))
    with pytest.raises(ValueError) as error:
        contract_violations(tmp_path)
    assert str(error.value) == (
        "`saved_model_dir` must hold a MetaGraph with the tag 'serve'. "
        f"Received: saved_model_dir={str(tmp_path)!r}, tags=[('train',)]."
    )
