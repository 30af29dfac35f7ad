"""REST requests to a served model, good ones and bad ones, for a shell."""

import dataclasses
import json
import shlex
from collections.abc import Iterator
from urllib.parse import quote

import numpy as np

from keras_xf.protocol.json_api import format_request
from keras_xf.protocol.request import Request
from keras_xf.serving.model_description import ModelDescription

HOST = "http://localhost:8501"

_DEFAULT = "serving_default"
# Of characters. Longer ones would make a page that nobody reads.
_MAX_BODY_LENGTH = 1000


@dataclasses.dataclass(frozen=True)
class BadRequest:
    """A request that is answered with an error.

    Attributes:
        wrong: What is wrong with it, in some words.
        status: The HTTP status of the answer.
        text: Part of the error's text; empty where that is the model's own.
        command: The line for a shell.
    """

    wrong: str
    status: int
    text: str
    command: str


def get_command(model: ModelDescription, *what: str) -> str:
    """Makes the line that asks for a model's status, or its "metadata"."""
    return f"curl {'/'.join([_url(model.name), *what])}"


def example_request(model: ModelDescription, signature: str) -> Request | None:
    """Chooses the request that shows how to call a signature.

    Args:
        model: The model.
        signature: Name of the signature.

    Returns:
        Its first warm-up request. None if it has none, or JSON cannot carry
        it, or it is too long for a page.
    """
    for request in model.requests:
        if request.signature == signature:
            if sum(np.size(x) for x in request.inputs.values()) > (
                _MAX_BODY_LENGTH
            ):
                return None
            try:
                bodies = [_body(request, form) for form in ("row", "column")]
            except ValueError:
                return None
            is_short = max(map(len, bodies)) <= _MAX_BODY_LENGTH
            return request if is_short else None
    return None


def predict_url(name: str) -> str:
    """Makes the address that requests to a model go to."""
    return f"{_url(name)}:predict"


def predict_command(
    model: ModelDescription, request: Request, form: str
) -> str:
    """Makes the line that sends a request.

    Args:
        model: The model.
        request: The request.
        form: "row" or "column".
    """
    return _predict(model.name, _body(request, form))


def bad_requests(model: ModelDescription) -> Iterator[BadRequest]:
    """Makes requests that are answered with errors.

    Args:
        model: The model.

    Yields:
        Those of the server's own errors that the warm-up requests can be
        changed to provoke, and then the requests that the manifest names.
    """
    examples = [example_request(model, name) for name in model.signatures]
    examples = [request for request in examples if request is not None]
    # The default one is what most know; it goes without a name.
    examples.sort(key=lambda request: request.signature != _DEFAULT)
    for make in _SERVER_ERRORS:
        made = (make(model.name, request) for request in examples)
        yield from [bad for bad in made if bad is not None][:1]
    for bad in model.manifest.get("bad_requests", []):
        body = {key: bad[key] for key in ("signature_name", "inputs")}
        yield BadRequest(
            bad["wrong"], 400, "", _predict(model.name, json.dumps(body))
        )


def _no_such_model(name, request):
    del name
    return BadRequest(
        "a model that is not there",
        404,
        "Servable not found for request",
        _predict("no_such_model", _body(request, "column")),
    )


def _no_such_signature(name, request):
    other = Request("no_such_signature", request.inputs)
    return BadRequest(
        "a signature that is not there",
        400,
        "not found in signature def",
        _predict(name, _body(other, "column")),
    )


def _missing_input(name, request):
    if len(request.inputs) < 2:
        return None
    document = json.loads(_body(request, "column"))
    document["inputs"].popitem()
    return BadRequest(
        "an input is missing",
        400,
        "Missing named input",
        _predict(name, json.dumps(document)),
    )


def _wrong_type(name, request):
    document = json.loads(_body(request, "column"))
    inputs = document["inputs"]
    is_single = len(request.inputs) == 1
    key = next(iter(request.inputs))
    wrong = 1 if request.inputs[key].dtype == object else "word"
    values = _replace(inputs if is_single else inputs[key], wrong)
    document["inputs"] = values if is_single else {**inputs, key: values}
    return BadRequest(
        "a value of another type",
        400,
        "is not of expected type",
        _predict(name, json.dumps(document)),
    )


def _unequal_rows(name, request):
    document = json.loads(_body(request, "row"))
    first = document["instances"][0]
    is_single = len(request.inputs) == 1
    for key in request.inputs:
        values = first if is_single else first[key]
        if isinstance(values, list) and values:
            longer = [*values, values[-1]]
            second = longer if is_single else {**first, key: longer}
            document["instances"] = [first, second]
            return BadRequest(
                "rows of different lengths",
                400,
                "Expecting tensor size",
                _predict(name, json.dumps(document)),
            )
    return None


_SERVER_ERRORS = (
    _no_such_model,
    _no_such_signature,
    _missing_input,
    _wrong_type,
    _unequal_rows,
)


def _body(request, form):
    body = format_request(request.signature, request.inputs, form)
    if request.signature != _DEFAULT:
        return body
    document = json.loads(body)
    del document["signature_name"]
    return json.dumps(document)


def _replace(values, wrong):
    if not isinstance(values, list):
        return wrong
    return [_replace(value, wrong) for value in values]


def _predict(name, body):
    return f"curl {predict_url(name)} -d {shlex.quote(body)}"


def _url(name):
    return f"{HOST}/v1/models/{quote(name, safe='')}"
