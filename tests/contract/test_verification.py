"""Tests of keras_xf.contract.verification: each rule, broken once.

Most signatures that break a rule are in one SavedModel, which is verified once:
each process takes a second to start.
"""

import json

import numpy as np
import pytest
import tensorflow as tf

from keras_xf.contract import json_check
from keras_xf.contract import verification
from keras_xf.contract.batching_check import Precision
from keras_xf.contract.batching_check import check_batching
from keras_xf.contract.isolation_check import check_threads
from keras_xf.contract.isolation_check import run
from keras_xf.contract.manifest import MANIFEST
from keras_xf.contract.session import Session
from keras_xf.contract.verification import verify
from keras_xf.contract.verification_cases import Case
from keras_xf.contract.verification_report import Check
from keras_xf.contract.warm_up import WARM_UP
from keras_xf.contract.warm_up import write_warm_up
from keras_xf.protocol.request import Request
from keras_xf.protocol.status import ServingError
from tests.contract.saved_models import TEXT
from tests.contract.saved_models import X
from tests.contract.saved_models import make_signature
from tests.contract.saved_models import save
from tests.serving.cases import make_bundles
from tests.serving.cases import make_model

TOKEN_IDS = tf.TensorSpec([None, None], tf.int32, "token_ids")
LENGTH = tf.TensorSpec([None], tf.int32, "length")
ROWS = tf.TensorSpec([None, None], tf.float32, "rows")


def broken_signatures():
    """Signatures that break a rule each, and the variables that they use."""
    count, first = tf.Variable(0.0), tf.Variable(-1.0)
    signatures = {}

    def signature(*specs):
        def add(function):
            signatures[function.__name__] = make_signature(*specs)(function)

        return add

    @signature(X)
    def counts(x):
        return {"y": x + count.assign_add(1.0)}

    @signature(X)
    def answers_as_the_first(x):
        kept = tf.cond(
            first < 0.0, lambda: first.assign(x[0, 0]), first.read_value
        )
        return {"y": 0 * x + kept}

    @signature(X)
    def draws(x):
        return {"y": x + tf.random.uniform([])}

    @signature(X)
    def draws_as_declared(x):
        return {"y": x + tf.random.uniform([])}

    @signature(X)
    def draws_with_xla(x):
        draw = tf.function(lambda: tf.random.uniform([]), jit_compile=True)
        return {"y": x + draw()}

    @signature(X)
    def calls_python(x):
        y = tf.py_function(tf.sqrt, [x], tf.float32)
        return {"y": tf.ensure_shape(y, [None, 2])}

    @signature(X)
    def is_compiled(x):
        return {"y": tf.function(tf.sqrt, jit_compile=True)(x)}

    @signature(X)
    def is_infinite(x):
        return {"y": tf.math.log(x), "z": x}

    @signature(ROWS)
    def lies_on_its_shape(rows):
        y = rows + 0
        y.set_shape([None, 4])
        return {"y": y}

    @signature(TOKEN_IDS)
    def masks_by_id(token_ids):
        mask = tf.cast(token_ids != 0, tf.int32)
        return {"y": tf.reduce_sum(mask, axis=1)}

    @signature(X)
    def means_over_rows(x):
        return {"y": x - tf.reduce_mean(x, axis=0)}

    @signature(ROWS)
    def divides_by_width(rows):
        size = tf.cast(tf.shape(rows)[1], tf.float32)
        return {"y": rows / size}

    @signature(TOKEN_IDS, LENGTH)
    def cuts_by_other_rows(token_ids, length):
        return {"y": token_ids[:, : tf.reduce_min(length)], "z": length}

    @signature(tf.TensorSpec([2, 2], tf.float32, "x"))
    def has_two_rows(x):
        return {"y": tf.reshape(x, [2, 2])}

    @signature(X)
    def returns_a_scalar(x):
        return {"x": x, "y": 0 * tf.reduce_sum(x)}

    @signature(X, tf.TensorSpec([], tf.float32, "factor"))
    def takes_a_scalar(x, factor):
        return {"y": x * factor}

    @signature(TEXT)
    def cuts_letters(text):
        return {"y": tf.strings.substr(text, 0, 1), "y_bytes": text}

    @signature(X)
    def returns_halves(x):
        return {"y": tf.cast(x, tf.float16)}

    @signature(tf.TensorSpec([None], tf.uint16, "x"))
    def takes_narrow_integers(x):
        return {"y": tf.cast(x, tf.int32)}

    @signature(X)
    def refuses(x):
        positive = tf.debugging.Assert(tf.reduce_all(x > 1), ["`x` is", x])
        with tf.control_dependencies([positive]):
            return {"y": tf.identity(x)}

    @signature(tf.TensorSpec(None, tf.float32, "x"))
    def takes_any_rank(x):
        return {"y": x}

    return signatures, [count, first]


@pytest.fixture(scope="module")
def broken(tmp_path_factory):
    """The report on all of them."""
    signatures, variables = broken_signatures()
    folder = tmp_path_factory.mktemp("broken")
    save(folder, variables=variables, **signatures)
    manifest = {"random_signatures": ["draws_as_declared", "draws_with_xla"]}
    (folder / MANIFEST).parent.mkdir()
    (folder / MANIFEST).write_text(json.dumps(manifest))
    ids = np.array([[7, 8, 0, 9], [7, 8, 9, 9]], np.int32)
    requests = [
        *(
            Request("answers_as_the_first", {"x": np.float32([[x, x]])})
            for x in (1, 2)
        ),
        Request("cuts_letters", {"text": ["öl"]}),
        Request("lies_on_its_shape", {"rows": np.ones([1, 3], np.float32)}),
        Request("masks_by_id", {"token_ids": ids[:1]}),
        Request("masks_by_id", {"token_ids": ids[1:, :3]}),
        *(
            Request(
                "cuts_by_other_rows",
                {"token_ids": i, "length": np.int32(n)},
            )
            for i, n in [(ids, [4, 3]), (ids[:, :2], [2, 2])]
        ),
    ]
    return verify(folder, requests=requests)


def messages(report, rule, where):
    return [
        finding.message
        for finding in report.findings
        if (finding.rule, finding.where) == (rule, where)
    ]


@pytest.mark.parametrize(
    ("place", "rule", "message"),
    [
        (
            "counts, output `y`",
            "state",
            "When it is repeated after others, the answer to made-up request 2 "
            "differs: it is 2.0 instead of 1.0 at [0, 0], 4 of 4 elements "
            "differ.",
        ),
        (
            "draws, output `y`",
            "state",
            "When it is repeated after others, the answer to made-up request",
        ),
        (
            "answers_as_the_first, output `y`",
            "state",
            "When requests come in another order, the answer to",
        ),
        (
            "calls_python",
            "native",
            "In a process without Python made-up request",
        ),
        (
            "draws_with_xla",
            "native",
            "In a process without Python, with XLA switched off as in the "
            "server, made-up request",
        ),
        (
            "is_compiled",
            "xla",
            "With XLA switched off, as in the server, made-up request",
        ),
        (
            "is_infinite, output `y`",
            "finite",
            "holds NaN or infinity, for which JSON has no spelling",
        ),
        (
            "lies_on_its_shape, output `y`",
            "output-signature",
            "The shape is [1, 3], not [None, 4], in the answer to given "
            "request 4.",
        ),
        (
            "masks_by_id, output `y`",
            "batching",
            "In a batch with others, the answer to given request 6 is 4 instead"
            " of 3 at [0]. The server pads a tensor with its own first element",
        ),
        (
            "means_over_rows, output `y`",
            "batching",
            "the answer to",
        ),
        (
            "divides_by_width, output `y`",
            "batching",
            "is 0.2 instead of 0.33333334 at [1, 0], 3 of 6 elements differ.",
        ),
        (
            "cuts_by_other_rows, output `y`",
            "batching",
            "the answer to given request 7 has the shape [2, 2], not [2, 3].",
        ),
        (
            "has_two_rows",
            "batching",
            "Requests that the server joins to a batch fail: INVALID_ARGUMENT:",
        ),
        (
            "returns_a_scalar",
            "batching",
            "Requests that the server joins to a batch fail: "
            "FAILED_PRECONDITION: Batched output tensor has 0 dimensions",
        ),
        (
            "returns_a_scalar",
            "json-answer",
            "cannot be sent in the form row: INVALID_ARGUMENT: Tensor name: y "
            "has no shape information ",
        ),
        (
            "takes_a_scalar",
            "batching",
            "Requests that the server joins to a batch fail: INVALID_ARGUMENT: "
            "Batching Run() input tensors must have at least one dimension",
        ),
        (
            "cuts_letters, output `y`",
            "json-answer",
            "The answer to given request 3 holds bytes that are not UTF-8",
        ),
        (
            "returns_halves",
            "json-answer",
            "cannot be sent in the form row: INVALID_ARGUMENT: Failed to write "
            "JSON value for tensor type: half",
        ),
        (
            "takes_narrow_integers, input `x`",
            "json-request",
            "JSON has no spelling for uint16",
        ),
        (
            "refuses",
            "refused-request",
            "A request of zeros and ones, made from the signature, is refused, "
            "so that the signature is not verified. Give requests by "
            "--requests=FILE. INVALID_ARGUMENT: assertion failed: [`x` is]",
        ),
    ],
)
def test_finds(broken, place, rule, message):
    name, *output = place.split(", ")
    where = ", ".join([f"signature `{name}`", *output])
    [found] = messages(broken, rule, where)
    assert message in found


def test_a_random_signature_is_told_what_fails_in_the_server_alone(broken):
    [found] = messages(broken, "native", "signature `draws_with_xla`")
    assert "XLA compilation disabled" in found


def test_finds_nothing_else(broken):
    expected = {
        (rule, place.split(",")[0])
        for place, rule, _ in test_finds.pytestmark[0].args[1]
    }
    found = {
        (finding.rule, finding.where.split("`")[1])
        for finding in broken.findings
    }
    assert found == expected


def test_only_a_refused_request_of_zeros_and_ones_is_a_warning(broken):
    severities = {finding.rule: finding.severity for finding in broken.findings}
    assert severities.pop("refused-request") == "warning"
    assert set(severities.values()) == {"error"}
    # Errors come first.
    assert broken.findings[-1].rule == "refused-request"


def test_tells_what_is_not_verified(broken):
    skipped = {check.name: check.skipped for check in broken.checks}
    assert skipped["warm-up"] == [
        "there are no warm-up requests",
        "`takes_any_rank` has no request, and none can be made: input `x` has "
        "no known rank or dtype",
    ]
    vary = [
        f"`{name}`: its answers vary"
        for name in ("counts", "draws", "draws_as_declared", "draws_with_xla")
    ]
    assert skipped["native"] == vary
    assert skipped["isolation"] == vary
    assert set(vary) <= set(skipped["batching"])
    assert set(vary) <= set(skipped["json"])
    assert any("in the form row" in reason for reason in skipped["json"])


def test_what_is_too_long_for_json_is_skipped(monkeypatch):
    monkeypatch.setattr(json_check, "_MAX_ELEMENTS", 3)
    made = Check("json")
    case = Case(Request("s", {"x": np.ones([2])}), "given", 1)
    case.answer = {"y": np.ones([2, 1])}
    json_check.check_json(None, [case], 1e-5, made)
    assert made.skipped == [
        "given request 1 for `s`: with its answer it has 4 elements"
    ]
    assert not made.findings
    assert not made.counts["requests"]


def test_counts_what_was_run(broken):
    counts = {check.name: check.counts for check in broken.checks}
    assert counts["warm-up"] == {"requests": 0, "made-up requests": 16}
    # Three more, to tell reasons apart.
    assert counts["native"]["processes"] == 4
    assert counts["isolation"]["requests repeated"] == 24
    assert counts["isolation"]["requests in two threads"] > 2 * 20


@pytest.fixture(scope="module")
def held(tmp_path_factory):
    """The report on signatures that break nothing, or nothing that is seen."""

    @make_signature(TOKEN_IDS, LENGTH)
    def sums(token_ids, length):
        width = tf.shape(token_ids)[1]
        mask = tf.sequence_mask(length, width, token_ids.dtype)
        return {"y": tf.reduce_sum(mask * token_ids, axis=1), "z": token_ids}

    @make_signature(TOKEN_IDS)
    def takes_three_alone(token_ids):
        return {"y": tf.ensure_shape(token_ids, [None, 3])}

    @make_signature(ROWS)
    def rounds_by_width(rows):
        size = tf.cast(tf.shape(rows)[1], tf.float32)
        return {"y": rows + 1e-4 * size}

    @make_signature(ROWS)
    def rounds_coarsely(rows):
        size = tf.cast(tf.shape(rows)[1], tf.float32)
        low = tf.cast(tf.cast(rows, tf.bfloat16), tf.float32)
        return {"y": low + size}

    @make_signature(TEXT)
    def reads_text(text):
        return {"y": tf.strings.length(text), "text_bytes": text}

    folder = save(
        tmp_path_factory.mktemp("held"),
        sums=sums,
        serving_default=sums,
        takes_three_alone=takes_three_alone,
        rounds_by_width=rounds_by_width,
        rounds_coarsely=rounds_coarsely,
        reads_text=reads_text,
    )
    token_ids = np.array([[7, 8, 0], [7, 8, 9]], np.int32)
    write_warm_up(
        folder,
        [
            *(
                Request(
                    name, {"token_ids": token_ids, "length": np.int32([2, 3])}
                )
                for name in ("serving_default", "sums")
            ),
            Request("takes_three_alone", {"token_ids": token_ids}),
            Request("reads_text", {"text": [b"\xff", b""]}),
            Request("reads_text", {"text": np.array([], object)}),
        ],
    )
    return verify(folder, program="ctypes")


def test_finds_nothing_where_nothing_is_broken(held):
    assert held.findings == []
    assert held.program == "ctypes"


def test_a_signature_of_two_names_is_run_once(held):
    counts = {check.name: check.counts for check in held.checks}
    assert counts["warm-up"] == {"requests": 5, "made-up requests": 4}
    # One request came under both names.
    assert counts["native"] == {"processes": 1, "requests": 8}


def test_what_is_rounded_otherwise_in_a_batch_is_no_finding(held):
    skipped = {check.name: check.skipped for check in held.checks}
    assert skipped["batching"] == [
        "`takes_three_alone`: padding, since all requests have one length, and "
        "longer and shorter ones made of them are refused",
        "`reads_text`: requests with an empty tensor, which a server does not "
        "pad",
        "`rounds_by_width`: whether answers in a batch are nearer than 0.001 "
        "to those alone, since they are rounded otherwise",
        "`rounds_coarsely`: whether answers in a batch are those alone, since "
        "in low precision they are rounded otherwise; padding and other rows "
        "do not change them",
    ]


def test_the_report_is_text_and_json(held, broken):
    lines = held.to_text().splitlines()
    assert lines[0] == "warm-up: requests 5, made-up requests 4"
    assert lines[1] == "native: processes 1, requests 8"
    assert lines[-1] == f"{held.saved_model_dir}: no errors, no warnings."
    lines = broken.to_text().splitlines()
    assert lines[: len(broken.findings)] == list(map(str, broken.findings))
    assert lines[-1] == f"{broken.saved_model_dir}: 19 errors, 1 warning."
    content = json.loads(json.dumps(broken.to_dict()))
    assert content["num_errors"] == 19
    assert content["num_warnings"] == 1
    assert content["findings"][-1] == {
        "rule": "refused-request",
        "severity": "warning",
        "where": "signature `refuses`",
        "message": broken.findings[-1].message,
    }
    assert content["checks"]["native"] == {
        "counts": {"processes": 4, "requests": 84},
        "skipped": [
            "`counts`: its answers vary",
            "`draws`: its answers vary",
            "`draws_as_declared`: its answers vary",
            "`draws_with_xla`: its answers vary",
        ],
    }


@pytest.mark.parametrize("num_requests", [1, 2])
def test_threads_that_meet_in_a_variable_are_found(tmp_path, num_requests):
    kept = tf.Variable([0.0])

    def keep(x):
        """Right for one client; slow, so that a second one comes between."""
        with tf.control_dependencies([kept.assign(x[0, :1])]):
            square = x[0, 0] + tf.zeros([128, 128])
        for _ in range(100):
            square = tf.tanh(square @ square)
        place = tf.cast(square[:1, 0] > 2, tf.int32)
        return {"y": x + tf.gather(kept, place)}

    save(tmp_path, X, variables=[kept], serving_default=keep)
    requests = [Request("serving_default", {"x": np.float32([[1, 2]])})]
    requests += [Request("serving_default", {"x": np.float32([[3, 4]])})]
    cases = [
        Case(request, "given", number)
        for number, request in enumerate(requests[:num_requests], 1)
    ]
    check = Check("isolation")
    with Session(tmp_path) as session:
        for case in cases:
            case.answer = run(session, case)
        check_threads(session, cases, None, check)
    if num_requests == 1:
        # Which does no harm to itself.
        assert check.findings == []
        assert check.skipped == [
            "threads: with one request, both threads send the same"
        ]
        return
    [finding] = check.findings
    assert finding.rule == "threads"
    assert finding.where == "signature `serving_default`, output `y`"
    assert "While another thread sends requests, the answer to given" in (
        finding.message
    )


@pytest.mark.parametrize("thread", [0, 1])
def test_what_goes_wrong_in_a_thread_is_raised(thread):
    cases = [
        Case(Request(name, {}), "given", number, {})
        for number, name in enumerate(["first", "second"])
    ]

    class Broken:
        def run(self, signature, inputs):
            if signature == cases[thread].signature:
                raise RuntimeError("out of luck")
            return {}

    with pytest.raises(RuntimeError, match="out of luck"):
        check_threads(Broken(), cases, None, Check("isolation"))


def test_without_other_padding_nothing_is_called_rounding(tmp_path):
    @make_signature(ROWS)
    def depends_on_width(rows):
        low = tf.cast(tf.cast(rows, tf.bfloat16), tf.float32)
        return {"y": low + tf.cast(tf.shape(rows)[1], tf.float32)}

    save(tmp_path, serving_default=depends_on_width)
    check = Check("batching")
    with Session(tmp_path) as session:
        cases = [
            Case(
                Request("serving_default", {"rows": np.ones([1, n], "f")}),
                "given",
                n,
            )
            for n in (1, 2)
        ]
        for case in cases:
            case.answer = run(session, case)
        precision = Precision(1e-5, None, {"serving_default"})
        check_batching(session, cases, precision, check)
    assert check.findings == []
    assert check.skipped == [
        "`serving_default`: whether answers in a batch are those alone, since "
        "they differ in low precision and no other padding could be made, "
        "which would tell rounding from a mistake"
    ]


@pytest.fixture
def plain(tmp_path):
    return save(tmp_path, X, serving_default=lambda x: {"y": x, "z": -x})


def test_a_warm_up_file_that_cannot_be_read_is_found(plain):
    (plain / WARM_UP).parent.mkdir()
    (plain / WARM_UP).write_bytes(b"This is no TFRecord.")
    report = verify(plain)
    [finding] = report.findings
    assert (finding.rule, finding.where) == ("warm-up", WARM_UP)
    assert finding.message.startswith("Warm-up requests must be a TFRecord")
    assert finding.message.endswith(" The load fails.")
    # The rest is verified all the same.
    assert report.checks[1].counts == {"processes": 1, "requests": 1}


def test_requests_that_fail_are_found(plain):
    row = np.array([[1, 2]], np.float32)
    write_warm_up(plain, [Request("serving_default", {"x": row.astype(int)})])
    report = verify(plain, requests=[Request("classify", {"x": row})])
    assert [
        str(finding).rpartition(" [")[0] for finding in report.findings
    ] == [
        "error: signature `classify`: Given request 1 fails: "
        'FAILED_PRECONDITION: Serving signature key "classify" not found.',
        "error: signature `serving_default`: Warm-up request 1 fails, and with "
        "it the load: INVALID_ARGUMENT: Expects arg[0] to be float but int64 "
        "is provided",
    ]


def test_what_does_not_load_is_found(plain):
    meta_graph = (plain / "saved_model.pb").read_bytes()
    damaged = meta_graph.replace(b"Identity", b"Identitx")
    (plain / "saved_model.pb").write_bytes(damaged)
    report = verify(plain)
    [finding] = report.findings
    assert (finding.rule, finding.where) == ("load", "saved_model.pb")
    assert finding.message.startswith("It cannot be loaded: NOT_FOUND: Op type")
    assert report.checks[2].counts == {}


def test_a_directory_without_a_saved_model_is_refused(tmp_path):
    with pytest.raises(ValueError) as error:
        verify(tmp_path)
    assert str(error.value) == (
        "`saved_model_dir` must hold a file saved_model.pb. "
        f"Received: saved_model_dir={str(tmp_path)!r}."
    )


def test_a_bundle_of_the_language_model_holds(tmp_path):
    bundle = make_bundles(make_model())["tokens"]
    bundle.save(tmp_path)
    write_warm_up(
        tmp_path,
        [
            Request(signature, request)
            for signature, requests in bundle.requests.items()
            for request in requests
        ],
    )
    report = verify(tmp_path)
    assert report.findings == []
    # Nothing was left out, either.
    assert [check.skipped for check in report.checks] == [[]] * 5
    signatures = len(bundle.requests) - 1
    assert report.checks[0].counts == {
        "requests": 4 * (signatures + 1),
        "made-up requests": 0,
    }
    assert report.checks[3].counts == {
        "batches": 2 * signatures,
        "requests in them": 2 * 4 * signatures,
    }


@pytest.mark.parametrize("num_processes", [1, 2, 3])
def test_a_process_that_ends_while_the_reason_is_sought_is_found(
    plain, monkeypatch, num_processes
):
    answer = {"y": np.float32([[7, 7]]), "z": np.float32([[7, 7]])}
    answers = [[answer]] * num_processes

    def run_natively(*_, **__):
        if answers:
            return answers.pop()
        raise ServingError("DEADLINE_EXCEEDED", "It took too long.")

    monkeypatch.setattr(verification, "run_natively", run_natively)
    request = Request("serving_default", {"x": np.float32([[1, 2]])})
    findings = verify(plain, requests=[request]).findings
    assert {finding.rule for finding in findings} == {"native"}
    found = {finding.where: finding.message for finding in findings}
    assert found.pop("saved_model.pb") == (
        "Answers differ in a process without Python, and one that was to tell "
        "the reason ended early: DEADLINE_EXCEEDED: It took too long."
    )
    # What differs is told, too.
    assert list(found) == [
        f"signature `serving_default`, output `{name}`" for name in "yz"
    ]


def test_random_signatures_may_be_given(tmp_path, monkeypatch):
    def draw(x):
        return {"y": x + tf.random.uniform([]), "z": x}

    save(tmp_path, X, serving_default=draw)
    manifest = tmp_path / MANIFEST
    manifest.parent.mkdir()
    # It is no list of names, and so not believed.
    manifest.write_text(json.dumps({"random_signatures": "serving_default"}))
    answer = {
        "y": np.zeros([1, 2], "float32"),
        "z": np.zeros([1, 3], "float32"),
    }
    monkeypatch.setattr(
        verification,
        "run_natively",
        lambda _, requests, **__: [answer for _ in requests],
    )

    def rules(**options):
        findings = verify(tmp_path, **options).findings
        return [(finding.rule, finding.where[-1 - 1]) for finding in findings]

    # Whose shapes are verified all the same.
    assert rules(random_signatures=["serving_default"]) == [("native", "z")]
    for names in (None, []):
        assert ("state", "y") in rules(random_signatures=names)
    with pytest.raises(ValueError) as error:
        verify(tmp_path, random_signatures=["sample"])
    assert str(error.value) == (
        "`random_signatures` must name signatures of the SavedModel. Received: "
        "random_signatures=['sample'], signatures=['serving_default']."
    )
