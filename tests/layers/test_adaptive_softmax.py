"""Tests of keras_xf.layers.AdaptiveSoftmax.

What every layer owes is tested in tests/conformance.
"""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_xf.layers import AdaptiveEmbedding
from keras_xf.layers import AdaptiveSoftmax
from keras_xf.ops import stateless_random
from tests.oracles import adaptive_softmax as oracle

SIZE, DIM = 11, 8
BINS = {"cutoffs": (4, 7), "divisor": 2}
IDS = np.array([[0, 3, 4], [6, 7, 10]])


def draw(*shape):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


def set_random(layer, seed=0):
    generator = np.random.default_rng(seed)
    layer.set_weights(
        [generator.normal(size=w.shape) for w in layer.get_weights()]
    )


def make_pair(tied_embeddings=True, tied_projections=True, **bins):
    """An embedding and a softmax with random weights, and the tables."""
    embedding = AdaptiveEmbedding(SIZE, DIM, **bins)
    softmax = AdaptiveSoftmax(
        SIZE,
        tied_embeddings=tied_embeddings,
        tied_projections=tied_projections,
        **bins,
    )
    vectors, tables = embedding(IDS, return_tables=True)
    softmax(vectors, tables=tables)
    set_random(embedding, 1)
    set_random(softmax, 2)
    return softmax, embedding(IDS, return_tables=True)[1]


def find_expected(vectors, softmax, tables, projections):
    """The oracle's log-probabilities; a table for all bins is cut here."""
    bounds = [0, *softmax.cutoffs, SIZE]
    if len(tables) < len(bounds) - 1:
        table = np.asarray(tables[0])
        tables = [table[a:b] for a, b in itertools.pairwise(bounds)]
    parts = [
        tuple(map(np.asarray, part))
        for part in zip(tables, softmax.biases, projections, strict=True)
    ]
    entries = None
    if softmax.cutoffs:
        entries = np.asarray(softmax.bin_table), np.asarray(softmax.bin_bias)
    flat = [
        [
            oracle.log_prob(vector, token, softmax.cutoffs, parts, entries)
            for token in range(SIZE)
        ]
        for vector in vectors.reshape(-1, DIM)
    ]
    return np.reshape(flat, (*vectors.shape[:-1], SIZE))


def assert_is(softmax, vectors, expected, **tables):
    np.testing.assert_allclose(
        softmax(vectors, **tables), expected, rtol=1e-5, atol=1e-5
    )
    nll = softmax(vectors, **tables, target_ids=IDS)
    np.testing.assert_allclose(
        nll,
        -np.take_along_axis(expected, IDS[..., None], axis=-1)[..., 0],
        rtol=1e-5,
        atol=1e-5,
    )


def test_tied_it_uses_the_tables_of_the_embedding():
    softmax, tables = make_pair(tied_projections=(False, True, True), **BINS)
    assert [w.name for w in softmax.weights] == [
        "bias_0",
        "bias_1",
        "bias_2",
        "bin_table",
        "bin_bias",
        "projection_0",
    ]
    vectors = draw(2, 3, DIM)
    expected = find_expected(
        vectors,
        softmax,
        tables["tables"],
        [softmax.projections[0], *tables["projections"][1:]],
    )
    assert_is(softmax, vectors, expected, tables=tables)


def test_untied_it_needs_no_tables():
    softmax, _ = make_pair(False, False, **BINS)
    vectors = draw(2, 3, DIM)
    expected = find_expected(
        vectors, softmax, softmax.tables, softmax.projections
    )
    assert_is(softmax, vectors, expected)


def test_only_the_projections_may_be_tied():
    softmax, tables = make_pair(tied_embeddings=False, **BINS)
    vectors = draw(2, 3, DIM)
    expected = find_expected(
        vectors, softmax, softmax.tables, tables["projections"]
    )
    assert_is(softmax, vectors, expected, tables=tables)


@pytest.mark.parametrize("embedding_dim", [None, 3])
def test_with_a_divisor_of_one_bins_are_slices_of_a_table(embedding_dim):
    softmax, tables = make_pair(cutoffs=(4, 7), embedding_dim=embedding_dim)
    vectors = draw(2, 3, DIM)
    projections = tables["projections"] or [np.eye(DIM)]
    expected = find_expected(
        vectors, softmax, tables["tables"], projections * 3
    )
    assert_is(softmax, vectors, expected, tables=tables)


def test_bins_of_one_table_may_have_projections_of_their_own():
    softmax, tables = make_pair(
        tied_projections=[True, False, True], cutoffs=(4, 7), embedding_dim=3
    )
    vectors = draw(2, 3, DIM)
    (shared,) = tables["projections"]
    expected = find_expected(
        vectors,
        softmax,
        tables["tables"],
        [shared, softmax.projections[1], shared],
    )
    assert_is(softmax, vectors, expected, tables=tables)


def test_one_bin_is_an_ordinary_softmax():
    softmax, tables = make_pair()
    vectors = draw(2, 3, DIM)
    (table,) = map(np.asarray, tables["tables"])
    logits = vectors @ table.T + np.asarray(softmax.biases[0])
    np.testing.assert_allclose(
        softmax(vectors, tables=tables, target_ids=IDS),
        keras.losses.sparse_categorical_crossentropy(
            IDS, logits, from_logits=True
        ),
        rtol=1e-5,
        atol=1e-5,
    )


@pytest.mark.parametrize("bins", [{}, BINS, {"cutoffs": (4, 7)}])
def test_probabilities_sum_to_one(bins):
    softmax, tables = make_pair(**bins)
    probs = np.exp(softmax(draw(2, 3, DIM), tables=tables))
    np.testing.assert_allclose(probs.sum(axis=-1), 1, atol=1e-6)


def test_tables_get_gradients_from_both_ends():
    embedding = AdaptiveEmbedding(SIZE, DIM, **BINS)
    softmax = AdaptiveSoftmax(SIZE, **BINS)

    def differentiate(stop_vectors=False, stop_tables=False):
        with tf.GradientTape() as tape:
            vectors, tables = embedding(IDS, return_tables=True)
            if stop_vectors:
                vectors = tf.stop_gradient(vectors)
            if stop_tables:
                tables = keras.tree.map_structure(tf.stop_gradient, tables)
            nll = softmax(vectors, tables=tables, target_ids=IDS[:, ::-1])
            loss = tf.reduce_sum(nll)
        return tape.gradient(loss, [w.value for w in embedding.weights])

    differentiate()
    set_random(embedding, 1)
    both = differentiate()
    outputs_alone = differentiate(stop_vectors=True)
    inputs_alone = differentiate(stop_tables=True)
    for whole, *parts in zip(both, outputs_alone, inputs_alone, strict=True):
        assert all(np.any(part) for part in parts)
        np.testing.assert_allclose(whole, sum(parts), rtol=1e-4, atol=1e-6)


def make_model():
    token_ids = keras.Input((None,), dtype="int32", name="token_ids")
    target_ids = keras.Input((None,), dtype="int32", name="target_ids")
    vectors, tables = AdaptiveEmbedding(SIZE, DIM, **BINS)(
        token_ids, return_tables=True
    )
    hidden = keras.layers.Dense(DIM)(vectors)
    softmax = AdaptiveSoftmax(
        SIZE, **BINS, tied_projections=(False, True, True)
    )
    return keras.Model(
        {"token_ids": token_ids, "target_ids": target_ids},
        {
            "log_probs": softmax(hidden, tables=tables),
            "nll": softmax(hidden, tables=tables, target_ids=target_ids),
        },
    )


def test_a_model_saves_shared_tables_once(tmp_path):
    model = make_model()
    set_random(model)
    tables = 4 * 8 + 3 * 4 + 4 * 2
    projections = (8 + 4 + 2) * DIM
    own = SIZE + 2 * DIM + 2 + DIM * DIM
    dense = DIM * DIM + DIM
    assert model.count_params() == tables + projections + own + dense
    model.save(tmp_path / "model.keras")
    revived = keras.saving.load_model(tmp_path / "model.keras")
    assert revived.count_params() == model.count_params()
    inputs = {"token_ids": IDS, "target_ids": IDS}
    expected = model(inputs)
    actual = revived(inputs)
    for name in expected:
        np.testing.assert_array_equal(actual[name], expected[name])
    # Still shared: a step of the one changes the other's tables.
    (embedding,) = (
        layer
        for layer in revived.layers
        if isinstance(layer, AdaptiveEmbedding)
    )
    embedding.tables[2].assign(embedding.tables[2] + 1)
    log_probs = revived(inputs)["log_probs"]
    assert not np.allclose(log_probs, expected["log_probs"])


def test_samples_are_distributed_by_the_log_probs():
    softmax, tables = make_pair(**BINS)
    vectors, number = draw(1, DIM) / 20, 4000
    seed = tf.constant([1, 2])
    token_ids = softmax.sample(
        np.repeat(vectors, number, axis=0), seed, tables=tables
    )
    expected = np.exp(softmax(vectors, tables=tables))[0] * number
    counts = np.bincount(token_ids, minlength=SIZE)
    # Tokens that are hardly ever drawn are put together.
    rare = expected < 5
    counts = np.append(counts[~rare], counts[rare].sum())
    expected = np.append(expected[~rare], expected[rare].sum() + 1e-9)
    assert len(counts) > 5
    # A chi-square of at most 11 degrees of freedom is beyond 31 once in 1000.
    assert np.sum((counts - expected) ** 2 / expected) < 31


@pytest.mark.parametrize("bins", [{}, BINS], ids=["one bin", "bins"])
def test_samples_depend_on_the_seed_alone(bins):
    softmax, tables = make_pair(**bins)
    vectors = draw(40, 2, DIM)

    def sample(seed):
        return softmax.sample(vectors, seed, tables=tables)

    first = sample(tf.constant([1, 2]))
    assert first.shape == (40, 2) and first.dtype == "int32"
    np.testing.assert_array_equal(sample(tf.constant([1, 2])), first)
    assert np.any(sample(tf.constant([1, 3])) != first)
    for jit_compile in (False, True):
        function = tf.function(sample, jit_compile=jit_compile)
        np.testing.assert_array_equal(function(tf.constant([1, 2])), first)


def test_noise_may_be_given_instead_of_a_seed():
    softmax, tables = make_pair(**BINS)
    vectors = draw(2, 3, DIM)
    seed = tf.constant([1, 2])
    noise = stateless_random.uniform(seed, (2, 3, 2))
    np.testing.assert_array_equal(
        softmax.sample(vectors, noise=noise, tables=tables),
        softmax.sample(vectors, seed, tables=tables),
    )


def test_a_language_model_learns_through_tied_tables():
    token_ids = keras.Input((None,), dtype="int32")
    vectors, tables = AdaptiveEmbedding(
        SIZE,
        DIM,
        **BINS,
        embeddings_initializer=keras.initializers.RandomNormal(
            stddev=DIM**-0.5, seed=1
        ),
        projections_initializer=keras.initializers.LecunNormal(seed=2),
    )(token_ids, return_tables=True)
    hidden = keras.layers.Dense(
        DIM, kernel_initializer=keras.initializers.GlorotUniform(seed=3)
    )(vectors)
    nll = AdaptiveSoftmax(
        SIZE,
        **BINS,
        embeddings_initializer=keras.initializers.RandomNormal(seed=4),
    )(hidden, tables=tables, target_ids=(token_ids + 1) % SIZE)
    model = keras.Model(token_ids, nll)
    model.compile(
        keras.optimizers.Adam(0.05),
        loss=lambda _, nll: nll,
        jit_compile=True,
    )
    ids = np.random.default_rng(0).integers(0, SIZE, (64, 6))
    history = model.fit(ids, ids[..., 0], epochs=30, verbose=0).history["loss"]
    assert history[0] > 1 and history[-1] < 0.1


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_outputs_are_float32_under_mixed_precision(policy):
    softmax = AdaptiveSoftmax(
        SIZE,
        **BINS,
        tied_embeddings=False,
        tied_projections=False,
        dtype=policy,
    )
    vectors = tf.cast(draw(2, 3, DIM), softmax.compute_dtype)
    log_probs = softmax(vectors)
    nll = softmax(vectors, target_ids=IDS)
    assert log_probs.dtype == nll.dtype == "float32"
    np.testing.assert_allclose(np.sum(np.exp(log_probs), axis=-1), 1, atol=1e-6)
    np.testing.assert_allclose(
        nll,
        -np.take_along_axis(log_probs.numpy(), IDS[..., None], -1)[..., 0],
        atol=0.02,
    )


def test_it_has_no_more_than_one_axis_if_so_given():
    softmax, tables = make_pair(**BINS)
    vectors = draw(2, 3, DIM)
    np.testing.assert_allclose(
        softmax(vectors[0], tables=tables, target_ids=IDS[0]),
        softmax(vectors, tables=tables, target_ids=IDS)[0],
        rtol=1e-6,
    )


def test_a_mask_does_not_matter():
    inputs = keras.layers.Masking()(draw(2, 3, DIM))
    softmax, tables = make_pair(**BINS)
    assert softmax(inputs, tables=tables).shape == (2, 3, SIZE)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"cutoffs": (7, 4)},
            "`cutoffs` must be positive and increase. "
            "Received: cutoffs=(7, 4).",
        ),
        (
            {"cutoffs": (4, 11)},
            "`cutoffs` must be less than `vocabulary_size`. "
            "Received: cutoffs=(4, 11), vocabulary_size=11.",
        ),
        (
            {"divisor": 0},
            "`divisor` must be positive. Received: divisor=0.",
        ),
        (
            {"embedding_dim": 3, **BINS},
            "`embedding_dim` must be wide enough to be divided by `divisor` "
            "once for each of the `cutoffs`. "
            "Received: embedding_dim=3, divisor=2, cutoffs=(4, 7).",
        ),
        (
            {"tied_projections": (True, False), **BINS},
            "`tied_projections` must be a truth value, or one for each bin. "
            "Received: tied_projections=(True, False), cutoffs=(4, 7).",
        ),
    ],
)
def test_rejects(arguments, message):
    with pytest.raises(ValueError) as error:
        AdaptiveSoftmax(**{"vocabulary_size": SIZE, **arguments})
    assert str(error.value) == message


def test_rejects_inputs_too_narrow_to_be_divided():
    softmax = AdaptiveSoftmax(SIZE, cutoffs=(4, 7), divisor=3)
    with pytest.raises(ValueError) as error:
        softmax(draw(2, 3, DIM))
    assert str(error.value) == (
        "`dim` must be wide enough to be divided by `divisor` once for each "
        "of the `cutoffs`. Received: dim=8, divisor=3, cutoffs=(4, 7)."
    )


def test_rejects_no_tables():
    with pytest.raises(ValueError) as error:
        AdaptiveSoftmax(SIZE, **BINS)(draw(2, 3, DIM))
    assert (
        "`tables` must be given to a softmax that is tied: what "
        "`AdaptiveEmbedding` returns with `return_tables=True`. "
        "Received: tables=None."
    ) in str(error.value)


def test_rejects_tables_of_other_bins():
    _, tables = AdaptiveEmbedding(SIZE, DIM, cutoffs=(4, 8), divisor=2)(
        IDS, return_tables=True
    )
    with pytest.raises(ValueError) as error:
        AdaptiveSoftmax(SIZE, **BINS)(draw(2, 3, DIM), tables=tables)
    assert (
        "`tables` must hold tables of the shapes [(4, 8), (3, 4), (4, 2)]: "
        "those of an `AdaptiveEmbedding` with the same bins. "
        "Received: tables=[(4, 8), (4, 4), (3, 2)]."
    ) in str(error.value)


def test_rejects_projections_of_another_width():
    _, tables = AdaptiveEmbedding(SIZE, 6, embedding_dim=8, **BINS)(
        IDS, return_tables=True
    )
    with pytest.raises(ValueError) as error:
        AdaptiveSoftmax(SIZE, **BINS)(draw(2, 3, DIM), tables=tables)
    assert (
        "`tables` must hold projections of the shapes "
        "[(8, 8), (4, 8), (2, 8)]: those of an `AdaptiveEmbedding` with the "
        "same bins. Received: projections=[(8, 6), (4, 6), (2, 6)]."
    ) in str(error.value)


@pytest.mark.parametrize("bins", [{}, BINS], ids=["one bin", "bins"])
@pytest.mark.parametrize("token", [SIZE, -1])
def test_rejects_targets_out_of_range(bins, token):
    softmax, tables = make_pair(**bins)
    target_ids = np.array([[0, 3, 4], [6, token, 10]])
    vectors = draw(2, 3, DIM)
    with pytest.raises(ValueError) as error:
        softmax(vectors, tables=tables, target_ids=target_ids)
    assert (
        "`target_ids` must lie in [0, 11). "
        f"Received: target_ids={token}." in str(error.value)
    )
    function = tf.function(
        lambda ids: softmax(vectors, tables=tables, target_ids=ids)
    )
    with pytest.raises(tf.errors.InvalidArgumentError):
        function(tf.constant(target_ids))
    compiled = tf.function(
        lambda ids: softmax(vectors, tables=tables, target_ids=ids),
        jit_compile=True,
    )
    np.testing.assert_array_equal(
        np.isnan(compiled(tf.constant(target_ids))), target_ids == token
    )


@pytest.mark.parametrize(
    ("options", "received"),
    [
        ({}, "seed=None, noise=None"),
        ({"seed": 1, "noise": 2}, "seed=1, noise=2"),
    ],
)
def test_rejects_not_one_of_seed_and_noise(options, received):
    softmax, tables = make_pair(**BINS)
    with pytest.raises(ValueError) as error:
        softmax.sample(draw(2, DIM), tables=tables, **options)
    assert str(error.value) == (
        f"`seed` must be given, or `noise`, and not both. Received: {received}."
    )


def test_rejects_targets_of_another_shape():
    softmax, tables = make_pair(**BINS)
    with pytest.raises(ValueError) as error:
        softmax(draw(2, 3, DIM), tables=tables, target_ids=IDS[:, :2])
    assert (
        "`target_ids` must have the shape of `inputs` without its last axis. "
        "Received: target_ids=(2, 2), inputs=(2, 3, 8)."
    ) in str(error.value)
