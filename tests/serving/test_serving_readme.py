"""Tests of keras_xf.serving.serving_readme.

Whether its commands do what it says is tested on a server, in
tests/export/test_served_readme.py.
"""

import io
import json
import urllib.request

import numpy as np
import pytest

from keras_xf.protocol.batching_parameters import BatchingParameters
from keras_xf.protocol.request import Request
from keras_xf.serving.serving_readme import make_readme
from tests.serving.descriptions import one_input
from tests.serving.descriptions import tagger

BATCHING = BatchingParameters(max_batch_size=7, batch_timeout_micros=1500)


def section(page, title):
    """What stands under a heading, up to the next of its level."""
    level = title.split()[0]
    _, found, rest = page.partition(f"\n{title}\n")
    assert found, title
    return rest.split(f"\n{level} ")[0]


def test_tells_what_is_there():
    page = make_readme(
        [
            tagger(manifest={"limits": {"max_length": 9, "top_k": None}}),
            one_input(np.array([1.0]), "float64", None),
        ],
        BATCHING,
    )
    assert (
        "| model | signatures | limits | written with |\n"
        "| --- | --- | --- | --- |\n"
        "| `tagger` | `serving_default`, `tag` | max_length 9 "
        "| TensorFlow 2.20.0 |\n"
        "| `one` | `serving_default` |  | TensorFlow 2.21.0 |\n"
    ) in page


def test_tells_inputs_and_outputs_once():
    descriptions = {
        "signatures": {"tag": "Tags tokens."},
        "inputs": {"token_ids": "ids | of tokens"},
        "outputs": {"tag_ids": "numbers of tags"},
    }
    page = make_readme(
        [tagger(manifest={"descriptions": descriptions})], BATCHING
    )
    assert section(page, "### `tag`").startswith(
        "\n"
        "Tags tokens.\n"
        "\n"
        "|  | name | dtype | shape |  |\n"
        "| --- | --- | --- | --- | --- |\n"
        "| input | `token_ids` | int64 | (batch, any) | ids \\| of tokens |\n"
        "| input | `weight` | float32 | (batch,) |  |\n"
        "| output | `tag_ids` | int32 | (batch, any) | numbers of tags |\n"
        "\n"
        "```sh\n"
        "curl "
    )
    assert section(page, "### `serving_default`").startswith(
        "\nInputs and outputs are those of `tag`.\n\n```sh\ncurl "
    )


def test_what_is_something_else_in_a_signature_is_told_there():
    descriptions = {
        "inputs": {"weight": "a weight", "tag.weight": "of the tags"},
    }
    page = make_readme(
        [tagger(manifest={"descriptions": descriptions})], BATCHING
    )
    told = "| input | `weight` | float32 | (batch,) |"
    assert f"{told} of the tags |\n" in section(page, "### `tag`")


@pytest.mark.parametrize("inputs", [{"token_ids": np.array([[5, 6]])}, {}])
def test_a_long_request_is_a_program(monkeypatch, capsys, inputs):
    weight = np.zeros([2, 3000], "float32")
    request = {**inputs, "weight": weight}
    page = make_readme([tagger(requests=[Request("tag", request)])], BATCHING)
    part = section(page, "### `tag`")
    assert "curl " not in part
    program = part.split("```python\n")[1].split("\n```")[0]
    sent = []

    def urlopen(request, timeout):
        sent.append((request.full_url, json.loads(request.data), timeout))
        return io.StringIO('{"outputs": {"tag_ids": [[1, 2]]}}')

    monkeypatch.setattr(urllib.request, "urlopen", urlopen)
    exec(compile(program, "README.md", "exec"), {})
    values = {"token_ids": [[5, 6]], "weight": weight.tolist()}
    body = {
        "signature_name": "tag",
        # The name of an only input is left out.
        "inputs": values if inputs else values["weight"],
    }
    url = "http://localhost:8501/v1/models/tagger:predict"
    assert sent == [(url, body, 300)]
    assert capsys.readouterr().out == '{"tag_ids": [[1, 2]]}\n'


@pytest.mark.parametrize(
    "inputs",
    [
        {"weight": np.arange(3000.0)},
        {"token_ids": np.array([[5]]), "weight": np.arange(3000.0)},
        {"token_ids": np.array([[5]]), "weight": np.arange(300) / 7},
        {"token_ids": np.array([[5]]), "weight": np.zeros(3000, "float16")},
    ],
)
def test_what_no_page_can_hold_is_left_out(inputs):
    page = make_readme([tagger(requests=[Request("tag", inputs)])], BATCHING)
    assert "urllib" not in page
    assert ":predict" not in section(page, "### `tag`")


def test_a_sentence_that_names_the_signature_is_enough():
    descriptions = {"signatures": {"serving_default": "The same as `tag`."}}
    page = make_readme(
        [tagger(manifest={"descriptions": descriptions})], BATCHING
    )
    assert section(page, "### `serving_default`").startswith(
        "\nThe same as `tag`.\n\n```sh\ncurl "
    )


def test_tells_what_the_operations_need():
    none, text, others = (
        make_readme([tagger(foreign_ops=ops)], BATCHING)
        for ops in ([], ["NormalizeUTF8"], ["Mine", "NormalizeUTF8"])
    )
    assert "operations" not in none
    assert (
        "`tagger` uses operations of TF Text, `NormalizeUTF8`. TF Serving 2.20 "
        "has them; other servers must load TF Text's libraries.\n"
    ) in text
    assert (
        "`tagger` uses operations that are not TensorFlow's own: `Mine`, "
        "`NormalizeUTF8`. It loads only where their libraries are.\n"
    ) in others


def test_tells_how_requests_are_joined():
    page = make_readme([tagger()], BATCHING)
    assert (
        "joins requests that come within 1.5 ms, up to 7 rows in all"
    ) in section(page, "## Joined requests")


def test_an_error_is_told_once():
    page = make_readme(
        [tagger(), one_input(np.array([1.0]), "float64", None)], BATCHING
    )
    lines = section(page, "## Errors").splitlines()
    told = [line for line in lines if line.startswith("# ")]
    assert len(told) == len(set(told)) == 5
    assert '# 400 "Missing named input": an input is missing' in told
    assert sum(line.startswith("curl ") for line in lines) == 5


def test_models_without_examples_are_described_all_the_same():
    model = one_input(
        np.zeros(1),
        None,
        requests=[],
        signatures={
            "tag": {
                "inputs": {"x": {"dtype": None, "shape": None}},
                "outputs": {"y": {"dtype": "bool", "shape": []}},
            }
        },
    )
    page = make_readme([model], BATCHING)
    assert "| input | `x` | not dense | any |  |\n" in page
    assert "| output | `y` | bool | () |  |\n" in page
    assert ":predict" not in page
    assert "## gRPC" not in page
    assert "## Errors" not in page


def test_the_page_is_well_formed():
    page = make_readme([tagger()], BATCHING)
    assert page.startswith("# Served models\n")
    assert page.endswith("\n")
    assert "\n\n\n" not in page
    assert page.count("```") % 2 == 0
