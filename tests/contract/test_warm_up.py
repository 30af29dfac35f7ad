"""Tests of keras_xf.contract.warm_up and keras_xf.protocol.request."""

import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from keras_xf.contract import warm_up
from keras_xf.contract.warm_up import read_warm_up
from keras_xf.contract.warm_up import write_warm_up
from keras_xf.protocol.request import Request

FILE = "assets.extra/tf_serving_warmup_requests"
# As TensorFlow's C++ writes a log of the name "model" and the signature "s".
EMPTY_LOG = b"2\x10\n\x0e\n\x0c\n\x05model\x1a\x03tag"


def make_requests():
    return [
        Request(
            "tag",
            {
                "token_ids": np.array([[5, 6, 7], [8, 0, 0]], "int32"),
                "length": np.array([3, 1], "int32"),
                "weight": np.array([0.5, -np.inf], "float32"),
            },
        ),
        Request(
            "serving_default",
            {
                "text": np.array([[b"a\0"], ["é"], [b""]], object),
                "long": np.array([2**40], "int64"),
                "flag": np.array([True]),
                "empty": np.zeros([0, 4], "float64"),
                "scalar": np.float32(2.0),
            },
        ),
    ]


EXPECTED_TEXT = [[b"a\0"], ["é".encode()], [b""]]


def records_of(folder):
    return [
        record.numpy() for record in tf.data.TFRecordDataset(str(folder / FILE))
    ]


def write_records(folder, *records, compression=None):
    (folder / FILE).parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(folder / FILE), compression) as writer:
        for record in records:
            writer.write(record)


def assert_same(actual, expected):
    assert actual.signature == expected.signature
    assert actual.inputs.keys() == expected.inputs.keys()
    for name, array in expected.inputs.items():
        assert actual.inputs[name].dtype == array.dtype
        np.testing.assert_array_equal(actual.inputs[name], array)


def test_one_number_all_over_takes_no_room(tmp_path):
    arrays = {
        "zeros": np.zeros([10, 200], "float32"),
        "ones": np.ones([2000], "int64"),
        "not_numbers": np.full([2000], np.nan, "float32"),
        "signs": np.zeros([2000], "float32"),
    }
    arrays["signs"][1] = -0.0
    write_warm_up(tmp_path, [Request("tag", arrays)])
    # What is not the same bit by bit is spelled out.
    assert 8000 < (tmp_path / FILE).stat().st_size < 8500
    (request,) = read_warm_up(tmp_path)
    assert_same(request, Request("tag", arrays))
    np.testing.assert_array_equal(
        np.signbit(request.inputs["signs"]), np.signbit(arrays["signs"])
    )


def test_reads_what_it_wrote(tmp_path):
    write_warm_up(tmp_path, make_requests())
    requests = read_warm_up(tmp_path)
    assert len(requests) == 2
    for actual, expected in zip(requests, make_requests(), strict=True):
        assert_same(actual, expected)
    text = requests[1].inputs["text"]
    assert text.dtype == object
    assert text.tolist() == EXPECTED_TEXT
    assert [path.name for path in (tmp_path / FILE).parent.iterdir()] == [
        "tf_serving_warmup_requests"
    ]


def test_a_saved_model_may_have_no_warm_up_requests(tmp_path):
    assert read_warm_up(tmp_path) == []


def test_the_server_would_read_the_same(tmp_path):
    prediction_log_pb2 = pytest.importorskip(
        "tensorflow_serving.apis.prediction_log_pb2"
    )
    # The server's messages came first now.
    warm_up._prediction_log.cache_clear()
    write_warm_up(tmp_path, make_requests(), model_name="tagger")
    records = records_of(tmp_path)
    assert len(records) == 2
    for record, request in zip(records, make_requests(), strict=True):
        log = prediction_log_pb2.PredictionLog.FromString(record)
        assert log.WhichOneof("log_type") == "predict_log"
        predict = log.predict_log.request
        assert predict.model_spec.name == "tagger"
        assert predict.model_spec.signature_name == request.signature
        inputs = {
            name: tf.make_ndarray(tensor)
            for name, tensor in predict.inputs.items()
        }
        assert_same(Request(request.signature, inputs), request)
        # There is nothing in it that this package does not know.
        assert log.SerializeToString(deterministic=True) == record

    # And the other way round: what the package writes.
    write_records(
        tmp_path,
        *[
            prediction_log_pb2.PredictionLog(
                predict_log={
                    "request": {
                        "model_spec": {
                            "name": "m",
                            "version": {"value": 3},
                            "signature_name": request.signature,
                        },
                        "inputs": {
                            name: tf.make_tensor_proto(array)
                            for name, array in request.inputs.items()
                        },
                        "output_filter": ["score"],
                    }
                },
                log_metadata={"timestamp_secs": 5},
            ).SerializeToString()
            for request in make_requests()
        ],
    )
    for actual, expected in zip(
        read_warm_up(tmp_path), make_requests(), strict=True
    ):
        assert_same(actual, expected)


CLASHES = """
import pathlib
import sys
from keras_xf.protocol.request import Request
from keras_xf.contract.warm_up import read_warm_up, write_warm_up
folder = pathlib.Path(sys.argv[1])
write_warm_up(folder, [Request("tag", {"ids": [1, 2]})])
assert "tensorflow_serving" not in sys.modules
from tensorflow_serving.apis import prediction_log_pb2
import tensorflow as tf
(record,) = tf.data.TFRecordDataset(
    str(folder / "assets.extra/tf_serving_warmup_requests")
)
log = prediction_log_pb2.PredictionLog.FromString(record.numpy())
ids = log.predict_log.request.inputs["ids"]
assert tf.make_ndarray(ids).tolist() == [1, 2]
(request,) = read_warm_up(folder)
assert request.inputs["ids"].tolist() == [1, 2]
"""


def test_the_servers_messages_may_be_imported_later(tmp_path):
    pytest.importorskip("tensorflow_serving")
    done = subprocess.run(
        [sys.executable, "-c", CLASHES, tmp_path],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_the_same_requests_make_the_same_bytes(tmp_path):
    write_warm_up(tmp_path, make_requests())
    first = (tmp_path / FILE).read_bytes()
    backwards = [
        Request(request.signature, dict(reversed(request.inputs.items())))
        for request in make_requests()
    ]
    write_warm_up(tmp_path, backwards)
    assert (tmp_path / FILE).read_bytes() == first
    # In every version of the libraries.
    write_warm_up(tmp_path, [Request("tag", {})])
    assert records_of(tmp_path) == [EMPTY_LOG]


def test_a_record_without_a_signature_is_for_the_default(tmp_path):
    write_records(tmp_path, b"2\x02\n\x00")
    (request,) = read_warm_up(tmp_path)
    assert request.signature == "serving_default"
    assert request.inputs == {}


def test_as_many_records_as_the_server_reads(tmp_path):
    write_warm_up(tmp_path, [Request("tag", {})] * 1000)
    assert len(read_warm_up(tmp_path)) == 1000
    with pytest.raises(ValueError) as error:
        write_warm_up(tmp_path, [Request("tag", {})] * 1001)
    assert str(error.value) == (
        "`requests` must be 1000 at most. Received: num_requests=1001."
    )
    assert len(records_of(tmp_path)) == 1000
    write_records(tmp_path, *[EMPTY_LOG] * 1001)
    with pytest.raises(ValueError) as error:
        read_warm_up(tmp_path)
    assert str(error.value) == (
        "Warm-up requests must be 1000 at most. "
        f"Received: path={str(tmp_path / FILE)!r}."
    )


@pytest.mark.parametrize(
    ("record", "log_type"),
    [
        (b"", None),
        (b"\x12\x00", "classify_log"),
        (b"\x1a\x00", "regress_log"),
        (b'"\x00', "multi_inference_log"),
        (b"*\x00", "session_run_log"),
        (b":\x00", "predict_streamed_log"),
    ],
)
def test_other_kinds_of_records_are_refused(tmp_path, record, log_type):
    write_records(tmp_path, EMPTY_LOG, record)
    with pytest.raises(ValueError) as error:
        read_warm_up(tmp_path)
    assert str(error.value) == (
        "A warm-up record must hold a `predict_log`. "
        f"Received: path={str(tmp_path / FILE)!r}, record=1, "
        f"log_type={log_type!r}."
    )


def test_a_record_that_is_no_message_is_refused(tmp_path):
    write_records(tmp_path, b"\xff\xff")
    with pytest.raises(ValueError) as error:
        read_warm_up(tmp_path)
    assert str(error.value).startswith(
        "A warm-up record must be a PredictionLog. "
        f"Received: path={str(tmp_path / FILE)!r}, record=0, error="
    )


@pytest.mark.parametrize(
    "tensor",
    [
        # Bytes that are no message; no known dtype; too few bytes.
        b"\xff",
        b"\x08\x64",
        b'\x08\x01\x12\x04\x12\x02\x08\x03"\x02aa',
    ],
)
def test_a_record_without_proper_tensors_is_refused(tmp_path, tensor):
    log = warm_up._prediction_log()()
    log.predict_log.request.inputs["ids"] = tensor
    write_records(tmp_path, log.SerializeToString())
    with pytest.raises(ValueError) as error:
        read_warm_up(tmp_path)
    assert str(error.value).startswith(
        "A warm-up record must hold tensors, also in `ids`. "
        f"Received: path={str(tmp_path / FILE)!r}, record=0, error="
    )


def compress(folder):
    write_records(folder, EMPTY_LOG, compression="GZIP")


def cut_off(folder):
    write_records(folder, EMPTY_LOG)
    path = folder / FILE
    path.write_bytes(path.read_bytes()[:-1])


def make_folder(folder):
    (folder / FILE).mkdir(parents=True)


@pytest.mark.parametrize("damage", [compress, cut_off, make_folder])
def test_a_file_that_is_no_plain_tf_record_is_refused(tmp_path, damage):
    damage(tmp_path)
    with pytest.raises(ValueError) as error:
        read_warm_up(tmp_path)
    assert str(error.value).startswith(
        "Warm-up requests must be a TFRecord that is not compressed. "
        f"Received: path={str(tmp_path / FILE)!r}, error="
    )


def test_strings_of_a_request_are_bytes():
    request = Request(
        "tag",
        {
            "a": np.array(["é", "b"]),
            "b": np.array([b"x", b"yy"]),
            "c": [["é"], [b"\0"]],
            "d": "word",
        },
    )
    assert {name: array.dtype for name, array in request.inputs.items()} == {
        name: np.dtype(object) for name in "abcd"
    }
    assert [array.tolist() for array in request.inputs.values()] == [
        ["é".encode(), b"b"],
        [b"x", b"yy"],
        [["é".encode()], [b"\0"]],
        b"word",
    ]


def test_other_objects_are_no_inputs():
    with pytest.raises(ValueError) as error:
        Request("tag", {"text": np.array([b"a", None], object)})
    assert str(error.value) == (
        "`inputs` must hold numbers or strings, also in `text`. "
        "Received: element=None."
    )


def test_what_tensorflow_has_no_tensors_for_is_refused(tmp_path):
    request = Request("tag", {"day": np.array(["2026-01-01"], "datetime64[D]")})
    with pytest.raises(ValueError) as error:
        write_warm_up(tmp_path, [request])
    assert str(error.value) == (
        "`requests` must hold tensors, also in `day`. "
        "Received: dtype='datetime64[D]'."
    )
    assert not (tmp_path / FILE).exists()
