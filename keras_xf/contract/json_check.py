"""Verifies that requests and answers pass through JSON unchanged."""

from collections.abc import Mapping
from collections.abc import Sequence

from keras_xf.contract.array_comparison import find_differences
from keras_xf.contract.isolation_check import run
from keras_xf.contract.native_check import find_problems
from keras_xf.contract.native_check import signature_place
from keras_xf.contract.native_check import tensor_place
from keras_xf.contract.session import Session
from keras_xf.contract.verification_cases import Case
from keras_xf.contract.verification_report import Check
from keras_xf.protocol.json_api import format_request
from keras_xf.protocol.json_api import format_response
from keras_xf.protocol.json_api import parse_request
from keras_xf.protocol.json_api import parse_response
from keras_xf.protocol.json_tensor import JSON_DTYPES
from keras_xf.protocol.json_tensor import dtype_name
from keras_xf.protocol.request import Request
from keras_xf.protocol.status import ServingError

_FORMS = ("row", "column")
# Of a request and its answer. More take many seconds.
_MAX_ELEMENTS = 200_000


def check_json(
    session: Session,
    cases: Sequence[Case],
    tolerance: float | None,
    check: Check,
) -> None:
    """Checks requests and answers in both forms of the REST interface.

    Each request is written by a client and read by the server's rules, run if
    that is not what it was, and the answer is written by the server's rules and
    read by a client.

    Args:
        session: Where to run requests.
        cases: Requests that were answered.
        tolerance: How far floats may be apart in two runs, None for equal
            bits. What passes through JSON must keep its bits in any case.
        check: Receives the findings, and what could not be verified.
    """
    for case in cases:
        arrays = [*case.inputs.values(), *case.answer.values()]
        num_elements = sum(array.size for array in arrays)
        if num_elements > _MAX_ELEMENTS:
            check.skip(
                f"{case} for `{case.signature}`: with its answer it has "
                f"{num_elements} elements"
            )
            continue
        for form in _FORMS:
            _check_request(session, case, form, tolerance, check)
            _check_answer(session, case, form, check)


def _check_request(session, case, form, tolerance, check):
    where = signature_place(case.signature)
    bad = [
        (name, dtype_name(array))
        for name, array in case.inputs.items()
        if dtype_name(array) not in JSON_DTYPES
    ]
    if bad:
        name, dtype = bad[0]
        check.find(
            "json-request",
            f"{where}, input `{name}`",
            f"JSON has no spelling for {dtype}: no request can be sent by "
            "REST. Cast it in the graph.",
        )
        return
    try:
        body = format_request(case.signature, case.inputs, form)
    except ValueError as error:
        check.skip(f"{case} for `{case.signature}` in the form {form}: {error}")
        return
    check.counts["requests"] += 1
    try:
        signature, inputs, _ = parse_request(body, session.signatures)
    except ServingError as error:
        check.find("json-request", where, f"{case} is refused: {error}")
        return
    differences = find_differences(case.inputs, inputs)
    for name, difference in differences.items():
        check.find(
            "json-request",
            f"{where}, input `{name}`",
            f"What the server reads from the JSON of {case} {difference}.",
        )
    read = Case(Request(signature, inputs), case.origin, case.number)
    for where, problem in find_problems(case, run(session, read), tolerance):
        check.find("json-request", where, f"Sent as JSON, {problem}.")


def _check_answer(session, case, form, check):
    where = signature_place(case.signature)
    outputs: Mapping = session.signatures[case.signature]["outputs"]
    try:
        body = format_response(case.answer, form)
        body = body.encode(errors="surrogateescape")
        check.counts["answers"] += 1
        read = parse_response(body, outputs, form)
    except (ServingError, ValueError) as error:
        check.find(
            "json-answer",
            where,
            f"The answer to {case} cannot be sent in the form {form}: {error}",
        )
        return
    for name, difference in find_differences(case.answer, read).items():
        check.find(
            "json-answer",
            tensor_place(case.signature, name),
            f"What a client reads from the JSON of the answer to {case} "
            f"{difference}.",
        )
    for name, array in case.answer.items():
        if _is_bad_text(name, array):
            check.find(
                "json-answer",
                tensor_place(case.signature, name),
                f"The answer to {case} holds bytes that are not UTF-8: clients "
                "fail to read it. Transcode them in the graph, or end the "
                "output's name in `_bytes`, which is sent in base64.",
            )


def _is_bad_text(name, array):
    if dtype_name(array) != "string" or name.endswith("_bytes"):
        return False
    try:
        for element in array.ravel():
            element.decode()
    except UnicodeDecodeError:
        return True
    return False
