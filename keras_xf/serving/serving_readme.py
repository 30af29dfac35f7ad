"""The page that tells the users of served models how to start and ask them."""

from collections.abc import Sequence

from keras_xf.contract.known_ops import TEXT_OPS
from keras_xf.protocol.batching_parameters import BatchingParameters
from keras_xf.serving.curl_requests import HOST
from keras_xf.serving.curl_requests import bad_requests
from keras_xf.serving.curl_requests import example_request
from keras_xf.serving.curl_requests import get_command
from keras_xf.serving.curl_requests import predict_command
from keras_xf.serving.grpc_program import make_grpc_program
from keras_xf.serving.markdown import block
from keras_xf.serving.markdown import code
from keras_xf.serving.markdown import table
from keras_xf.serving.model_description import ModelDescription
from keras_xf.serving.rest_program import make_rest_program

# The oldest server that our models and TF Text's operations were made for.
_SERVER_VERSION = "2.20"
_TIMEOUT_SECONDS = 300
# Where the server has its metrics if monitoring.config says so.
METRICS_PATH = "/monitoring/prometheus/metrics"


def make_readme(
    models: Sequence[ModelDescription], batching: BatchingParameters
) -> str:
    """Writes a page in Markdown.

    Args:
        models: What is served.
        batching: How the server is told to join requests.

    Returns:
        The page. Its commands run as they are where a server runs.
    """
    parts = [
        "# Served models",
        "The model server [TF Serving](https://github.com/tensorflow/serving) "
        "reads this folder.",
        _overview(models),
        *_start(models),
        *_requests(models),
    ]
    for model in models:
        parts += _model(model)
    parts += _grpc(models)
    parts += _errors(models)
    parts += _batching(batching)
    return "\n\n".join(parts) + "\n"


def _overview(models):
    rows = [("model", "signatures", "limits", "written with")]
    for model in models:
        limits = model.manifest.get("limits", {})
        rows.append(
            (
                code(model.name),
                ", ".join(map(code, model.signatures)),
                ", ".join(
                    f"{key} {limit}"
                    for key, limit in limits.items()
                    if limit is not None
                ),
                f"TensorFlow {model.tensorflow_version}",
            )
        )
    return table(rows)


def _start(models):
    yield "## Start a server"
    yield "In this folder:"
    yield block(
        "sh",
        'docker run --rm -p 8500:8500 -p 8501:8501 -v "$PWD:/models:ro" \\',
        f"  tensorflow/serving:{_SERVER_VERSION}.0 \\",
        "  --model_config_file=/models/models.config \\",
        "  --monitoring_config_file=/models/monitoring.config \\",
        "  --enable_batching=true \\",
        "  --batching_parameters_file=/models/batching_parameters.txt \\",
        f"  --rest_api_timeout_in_ms={_TIMEOUT_SECONDS * 1000}",
    )
    yield (
        "REST is at port 8501, gRPC at 8500. Without the timeout, answers "
        "that take more than 30 seconds are lost. A new version is loaded when "
        "its folder appears; it replays the requests in its "
        "`assets.extra/tf_serving_warmup_requests`, then it takes the place of "
        f"the old one. TF Serving {_SERVER_VERSION} is the oldest to use."
    )
    yield from filter(None, map(_needed_ops, models))
    yield (
        "For development, not for production, there is a server in Python "
        "that answers alike. In keras_xf's repository, with the path of this "
        "folder as `DIR`:"
    )
    yield block(
        "sh",
        'pip install ".[text,serving]"',
        "python -m export.serve_local DIR",
    )


def _needed_ops(model):
    if not model.foreign_ops:
        return None
    listed = ", ".join(map(code, model.foreign_ops))
    if set(model.foreign_ops) <= TEXT_OPS:
        return (
            f"`{model.name}` uses operations of TF Text, {listed}. TF Serving "
            f"{_SERVER_VERSION} has them; other servers must load TF Text's "
            "libraries."
        )
    return (
        f"`{model.name}` uses operations that are not TensorFlow's own: "
        f"{listed}. It loads only where their libraries are."
    )


def _requests(models):
    yield "## Requests"
    yield "Is it there, and what does it take?"
    yield block(
        "sh",
        *[
            line
            for model in models
            for line in (get_command(model), get_command(model, "metadata"))
        ],
        f"curl {HOST}{METRICS_PATH}",
    )
    yield (
        "A request names a signature, or else goes to `serving_default`. "
        '`"instances"` lists rows, an object each, and the answer is '
        '`{"predictions": [...]}`, an object a row. `"inputs"` holds whole '
        'arrays, and so does the answer, `{"outputs": {...}}`. The name of an '
        "only input or output is left out. Rows must have equal shapes, "
        "integers no decimal point; strings that are not UTF-8 are sent as "
        '`{"b64": "..."}`. `/versions/1` behind the name of a model asks for '
        "that version instead of the newest."
    )


def _model(model):
    yield f"## {code(model.name)}"
    descriptions = model.manifest.get("descriptions", {})
    told = {}
    # The others first: the default one is mostly one of them.
    for name in sorted(model.signatures, key=lambda n: n == "serving_default"):
        yield f"### {code(name)}"
        sentence = descriptions.get("signatures", {}).get(name)
        if sentence:
            yield sentence
        signature = model.signatures[name]
        like = [code(other) for other in told if told[other] == signature]
        if not like:
            yield _signature(name, signature, descriptions)
        elif not sentence or like[0] not in sentence:
            yield f"Inputs and outputs are those of {like[0]}."
        told[name] = signature
        request = example_request(model, name)
        if request is not None:
            yield block(
                "sh",
                *[
                    predict_command(model, request, form)
                    for form in ("row", "column")
                ],
            )
            continue
        program = make_rest_program(model, name, _TIMEOUT_SECONDS)
        if program is not None:
            yield "In Python, since the request is long:"
            yield block("python", program)


def _signature(signature_name, signature, descriptions):
    rows = [("", "name", "dtype", "shape", "")]
    for side, tensors in signature.items():
        told = descriptions.get(side, {})
        for name, tensor in tensors.items():
            rows.append(
                (
                    side.removesuffix("s"),
                    code(name),
                    tensor["dtype"] or "not dense",
                    _shape(tensor["shape"]),
                    told.get(f"{signature_name}.{name}", told.get(name, "")),
                )
            )
    return table(rows)


def _shape(shape):
    if shape is None:
        return "any"
    sizes = ["any" if size is None else str(size) for size in shape]
    if shape and shape[0] is None:
        sizes[0] = "batch"
    return f"({', '.join(sizes)}{',' if len(sizes) == 1 else ''})"


def _grpc(models):
    for model in models:
        request = example_request(model, "serving_default")
        if request is not None:
            yield "## gRPC"
            yield "After `pip install tensorflow tensorflow-serving-api`:"
            yield block(
                "python",
                make_grpc_program(model.name, request, _TIMEOUT_SECONDS),
            )
            return


def _errors(models):
    told = {}
    for model in models:
        for bad in bad_requests(model):
            told.setdefault(bad.wrong, bad)
    if not told:
        return
    yield "## Errors"
    yield (
        'An error is a status and a text, `{"error": "..."}`. Besides these, '
        "503 tells that too many requests are waiting, and 504 that an answer "
        "took too long."
    )
    lines = []
    for bad in told.values():
        text = f' "{bad.text}"' if bad.text else ""
        lines += ["", f"# {bad.status}{text}: {bad.wrong}", bad.command]
    yield block("sh", *lines[1:])


def _batching(batching):
    milliseconds = batching.batch_timeout_micros / 1000
    yield "## Joined requests"
    yield (
        f"Started as above, the server joins requests that come within "
        f"{milliseconds:g} ms, up to {batching.max_batch_size} rows in all, "
        "more than which no request may have. Arrays that are shorter than "
        "others are filled up at their ends with their own first element, and "
        "batches with copies of a row. So arrays in an answer may be wider "
        "than in that to the request alone, an array without elements is "
        "refused beside others, and what a model refuses fails all requests "
        "of the batch. `batching_parameters.txt` says how; without "
        "`--enable_batching` and its file no requests are joined. The "
        "development server joins them with `--emulate_batching`."
    )
