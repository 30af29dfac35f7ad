"""A program that sends a long request over REST, to copy and change."""

import json

import numpy as np

from keras_xf.protocol.json_api import format_request
from keras_xf.serving.curl_requests import predict_url
from keras_xf.serving.model_description import ModelDescription

_PROGRAM = """\
import json
import urllib.request

body = {{
    "signature_name": {signature},
    "inputs": {inputs},
}}
request = urllib.request.Request(
    "{url}",
    json.dumps(body).encode(),
)
with urllib.request.urlopen(request, timeout={timeout_seconds}) as response:
    outputs = json.load(response)["outputs"]
print(json.dumps(outputs)[:1000])"""
# Of characters, all arrays together. Longer ones nobody reads.
_MAX_LENGTH = 1000


def make_rest_program(
    model: ModelDescription, signature: str, timeout_seconds: int
) -> str | None:
    """Writes a program in Python that prints the beginning of an answer.

    It needs the standard library alone, and spells out no array that is one
    number all over.

    Args:
        model: The model.
        signature: Name of the signature.
        timeout_seconds: How long to wait for the answer.

    Returns:
        The program, whole, without a line end after it, for the first warm-up
        request. None if there is none, or JSON cannot carry it, or it is too
        long for a page.
    """
    requests = [r for r in model.requests if r.signature == signature]
    if not requests:
        return None
    arrays = requests[0].inputs.values()
    if any(x.size > _MAX_LENGTH and not _is_repeated(x) for x in arrays):
        return None
    try:
        lines = _inputs(requests[0])
    except ValueError:
        return None
    if sum(map(len, lines)) > _MAX_LENGTH:
        return None
    return _PROGRAM.format(
        signature=json.dumps(signature),
        inputs="\n".join(lines),
        url=predict_url(model.name),
        timeout_seconds=timeout_seconds,
    )


def _inputs(request):
    if len(request.inputs) == 1:
        # An only input has no name.
        ((name, array),) = request.inputs.items()
        return [_expression(name, array)]
    lines = [
        f"        {json.dumps(name)}: {_expression(name, array)},"
        for name, array in request.inputs.items()
    ]
    return ["{", *lines, "    }"]


def _expression(name, array):
    if not _is_repeated(array):
        return _json(name, array)
    # Rows that are the same list are as good as equal ones, to be written.
    expression = _json(name, array.reshape(-1)[:1])[1:-1]
    for size in reversed(array.shape):
        expression = f"[{expression}]" + (f" * {size}" if size != 1 else "")
    return expression


def _is_repeated(array):
    return array.size > 1 and np.all(array == array.reshape(-1)[0])


def _json(name, array):
    body = format_request("", {name: array}, "column")
    return json.dumps(json.loads(body)["inputs"])
