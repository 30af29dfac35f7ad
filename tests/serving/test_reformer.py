"""Tests of the bundles of a Reformer language model."""

import dataclasses

import pytest
import tensorflow as tf

from keras_xf import models
from keras_xf import serving
from keras_xf.text import ByteTokenizer
from tests.serving.cases import MAX_NEW_TOKENS
from tests.serving.cases import VOCABULARY_SIZE
from tests.serving.cases import assert_is_greedy
from tests.serving.cases import run

PROMPTS = ([70, 71, 72, 73, 74, 75, 76, 77, 78], [80, 81], [])


@pytest.fixture(scope="module")
def model():
    return models.build_reformer_language_model(
        vocabulary_size=VOCABULARY_SIZE,
        max_length=32,
        hidden_dim=16,
        num_heads=2,
        intermediate_dim=32,
        # Of one LSH layer at the top, a position hashed among those before it
        # gives what a pass over them gives at its end.
        attention=("chunked", "lsh"),
        chunk_length=4,
        num_hashes=2,
        seed=1,
    )


@pytest.fixture(scope="module")
def export_dir(model, tmp_path_factory):
    """Published only if it keeps the contract, run as a server would."""
    export_dir = tmp_path_factory.mktemp("served")
    # The other bundle completes texts by the same function.
    bundle = serving.language_model_bundles(
        models.build_reformer_language_model_step(models.fix_rotations(model)),
        ByteTokenizer(),
        max_new_tokens=MAX_NEW_TOKENS,
    )["tokens"]
    # Drawing takes the same steps, and scoring is a pass as classifiers serve
    # it; both would take as long again to trace and to load.
    signatures, requests = (
        {name: some[name] for name in ("generate", "serving_default")}
        for some in (bundle.signatures, bundle.requests)
    )
    bundle = dataclasses.replace(
        bundle, signatures=signatures, requests=requests, random_signatures=()
    )
    serving.publish({"tokens": bundle}, export_dir)
    return export_dir


def test_rows_of_any_length_continue_as_they_would_alone(export_dir, model):
    loaded = tf.saved_model.load(export_dir / "tokens" / "1")
    width = max(map(len, PROMPTS))
    request = {
        "token_ids": [row + [7] * (width - len(row)) for row in PROMPTS],
        "length": [len(row) for row in PROMPTS],
    }
    results = run(loaded.signatures["generate"], request)
    for row, prompt in enumerate(PROMPTS):
        assert_is_greedy(results, row, model, prompt)
