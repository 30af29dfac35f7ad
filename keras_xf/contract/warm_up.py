"""Warm-up requests, which a model server replays before a version serves.

A version's first requests are slow, since TensorFlow prepares each graph when
it first runs. The server runs the requests of a file in `assets.extra/` while
it loads the version, and the old one still answers. A request that fails fails
the load.

The file is a TFRecord, not compressed, of `tensorflow.serving.PredictionLog`
messages. Their descriptors are built here, in a pool of their own, so that
neither the package of TF Serving's messages is needed nor a clash with it
possible.

Reference:
    tensorflow/serving servables/tensorflow/saved_model_warmup_util.cc,
    apis/{prediction_log,predict,model}.proto.
"""

import functools
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import tensorflow as tf
from google.protobuf import descriptor_pb2
from google.protobuf import descriptor_pool
from google.protobuf import message
from google.protobuf import message_factory
from tensorflow.core.framework import tensor_pb2

from keras_xf.checks import check
from keras_xf.files import atomic_file
from keras_xf.protocol.request import Request

WARM_UP = "assets.extra/tf_serving_warmup_requests"
MAX_NUM_RECORDS = 1000

_PACKAGE = "tensorflow.serving"
# Fields as (name, number, type). A message and its bytes are the same on the
# wire, so that what is not looked into is declared as bytes.
_MESSAGES = {
    "ModelSpec": [("name", 1, "string"), ("signature_name", 3, "string")],
    "PredictRequest": [
        ("model_spec", 1, "ModelSpec"),
        ("inputs", 2, "map of bytes"),
    ],
    "PredictLog": [("request", 1, "PredictRequest")],
    "PredictionLog": [
        ("classify_log", 2, "bytes"),
        ("regress_log", 3, "bytes"),
        ("multi_inference_log", 4, "bytes"),
        ("session_run_log", 5, "bytes"),
        ("predict_log", 6, "PredictLog"),
        ("predict_streamed_log", 7, "bytes"),
    ],
}
_LOG_TYPE = "log_type"
# Numbers that are worth a look whether they are all the same.
_MIN_REPEATED = 1000


def write_warm_up(
    saved_model_dir: str | Path,
    requests: Iterable[Request],
    model_name: str = "model",
) -> None:
    """Writes warm-up requests into a SavedModel, in place of earlier ones.

    The same requests make the same bytes.

    Args:
        saved_model_dir: The directory of `saved_model.pb`.
        requests: What to replay, in this order.
        model_name: Name of the model in the requests. The server reads it,
            but replays them on whatever model holds the file.

    Raises:
        ValueError: If there are more requests than a server reads, 1000, or
            an array has a dtype that TensorFlow does not know.
    """
    requests = list(requests)
    check(
        len(requests) <= MAX_NUM_RECORDS,
        f"`requests` must be {MAX_NUM_RECORDS} at most.",
        num_requests=len(requests),
    )
    records = [_to_record(request, model_name) for request in requests]
    path = Path(saved_model_dir) / WARM_UP
    path.parent.mkdir(exist_ok=True)
    with (
        atomic_file(path) as aside,
        tf.io.TFRecordWriter(str(aside)) as writer,
    ):
        for record in records:
            writer.write(record)


def read_warm_up(saved_model_dir: str | Path) -> list[Request]:
    """Reads the warm-up requests of a SavedModel.

    Args:
        saved_model_dir: The directory of `saved_model.pb`.

    Returns:
        The requests, in the file's order; none if there is no file. One that
        names no signature is for "serving_default", as in the server.

    Raises:
        ValueError: If the file is one that would keep a server from loading
            the SavedModel: not a TFRecord, compressed, cut off, more than 1000
            records, or a record that is not a `PredictionLog`. Also if a
            record logs anything but a predict request: servers replay some of
            those too, but no signatures that take named tensors.
    """
    path = Path(saved_model_dir) / WARM_UP
    if not path.exists():
        return []
    requests = []
    try:
        for record in tf.data.TFRecordDataset(str(path)):
            check(
                len(requests) < MAX_NUM_RECORDS,
                f"Warm-up requests must be {MAX_NUM_RECORDS} at most.",
                path=str(path),
            )
            requests.append(_from_record(record.numpy(), path, len(requests)))
    except tf.errors.OpError as error:
        check(
            False,
            "Warm-up requests must be a TFRecord that is not compressed.",
            path=str(path),
            error=error.message,
        )
    return requests


def _to_record(request, model_name):
    log = _prediction_log()()
    predict = log.predict_log.request
    predict.model_spec.name = model_name
    predict.model_spec.signature_name = request.signature
    for name, array in request.inputs.items():
        try:
            tensor = _to_proto(array)
        except (TypeError, ValueError):
            check(
                False,
                f"`requests` must hold tensors, also in `{name}`.",
                dtype=str(np.asarray(array).dtype),
            )
        predict.inputs[name] = tensor.SerializeToString(deterministic=True)
    return log.SerializeToString(deterministic=True)


def _to_proto(array):
    """A tensor message; of one number all over, it holds that number once."""
    array = np.asarray(array)
    if array.size > _MIN_REPEATED and array.dtype.kind in "biuf":
        first = array.reshape(-1)[0]
        # Bits are compared: zeros have two signs.
        if array.tobytes() == first.tobytes() * array.size:
            return tf.make_tensor_proto(first, shape=array.shape)
    return tf.make_tensor_proto(array)


def _from_record(record, path, number):
    where = {"path": str(path), "record": number}
    try:
        log = _prediction_log().FromString(record)
    except message.DecodeError as error:
        check(
            False,
            "A warm-up record must be a PredictionLog.",
            **where,
            error=str(error),
        )
    log_type = log.WhichOneof(_LOG_TYPE)
    check(
        log_type == "predict_log",
        "A warm-up record must hold a `predict_log`.",
        **where,
        log_type=log_type,
    )
    predict = log.predict_log.request
    inputs = {}
    for name, tensor in sorted(predict.inputs.items()):
        try:
            inputs[name] = tf.make_ndarray(
                tensor_pb2.TensorProto.FromString(tensor)
            )
        except (message.DecodeError, TypeError, ValueError) as error:
            check(
                False,
                f"A warm-up record must hold tensors, also in `{name}`.",
                **where,
                error=str(error),
            )
    signature = predict.model_spec.signature_name or "serving_default"
    return Request(signature, inputs)


@functools.cache
def _prediction_log():
    """Returns the class of `tensorflow.serving.PredictionLog`."""
    file = descriptor_pb2.FileDescriptorProto(
        name="keras_xf/contract/warm_up.proto",
        package=_PACKAGE,
        syntax="proto3",
    )
    for name, fields in _MESSAGES.items():
        declared = file.message_type.add(name=name)
        for field in fields:
            _declare(declared, *field)
    # The last one holds one of its fields, not several.
    declared.oneof_decl.add(name=_LOG_TYPE)
    for field in declared.field:
        field.oneof_index = 0
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return message_factory.GetMessageClass(
        pool.FindMessageTypeByName(f"{_PACKAGE}.{declared.name}")
    )


def _declare(declared, name, number, kind):
    kinds = descriptor_pb2.FieldDescriptorProto
    field = declared.field.add(
        name=name, number=number, label=kinds.LABEL_OPTIONAL
    )
    if kind == "map of bytes":
        entry = declared.nested_type.add(name="InputsEntry")
        entry.options.map_entry = True
        _declare(entry, "key", 1, "string")
        _declare(entry, "value", 2, "bytes")
        field.label = kinds.LABEL_REPEATED
        kind = f"{declared.name}.{entry.name}"
    if kind == "string":
        field.type = kinds.TYPE_STRING
    elif kind == "bytes":
        field.type = kinds.TYPE_BYTES
    else:
        field.type = kinds.TYPE_MESSAGE
        field.type_name = f".{_PACKAGE}.{kind}"
