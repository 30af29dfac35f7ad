"""One row or more per public layer: how to make it and what to feed it.

To add a layer, add a row. The tests beside this file do the rest.
"""

import dataclasses
from collections.abc import Callable
from collections.abc import Mapping

import keras
import numpy as np

from keras_xf import layers


@dataclasses.dataclass(frozen=True)
class Floats:
    """A float tensor; None marks an axis that a model may leave open."""

    shape: tuple[int | None, ...]


@dataclasses.dataclass(frozen=True)
class Ids:
    """An int32 tensor of ids in `[0, high)`."""

    shape: tuple[int | None, ...]
    high: int


@dataclasses.dataclass(frozen=True)
class Mask:
    """A boolean tensor, True for the real positions of each row."""

    shape: tuple[int | None, ...]


@dataclasses.dataclass(frozen=True)
class Lengths:
    """An int32 tensor `(batch,)` of the rows' real positions."""

    shape: tuple[int | None, ...] = (None,)


@dataclasses.dataclass(frozen=True)
class Case:
    """A layer under test.

    Attributes:
        make: Returns a new layer; keyword arguments reach its constructor.
        inputs: The call arguments by name, the first first; a state is a
            dict of its own, several tensors in one argument are a tuple.
        constants: Call arguments that are not tensors.
        bad_arguments: For each constructor argument that can be wrong, a
            value that must be refused.
        bad_shapes: Shapes that the first call argument must not have.
        dropout: Constructor arguments that make training random.
        length_axis: The axis of the first input along which it may be
            padded, None for a layer that knows no sequences.
        open_size: The size that open axes take when arrays are made.
        exceptions: Names of tests that do not apply, each with the reason.
    """

    make: Callable[..., keras.layers.Layer]
    inputs: Mapping[str, Floats | Ids | Mask | Lengths | tuple | Mapping]
    constants: Mapping[str, object] = dataclasses.field(default_factory=dict)
    bad_arguments: Mapping[str, object] = dataclasses.field(
        default_factory=dict
    )
    bad_shapes: tuple[tuple[int, ...], ...] = ()
    dropout: Mapping[str, object] = dataclasses.field(default_factory=dict)
    length_axis: int | None = 1
    open_size: int = 7
    exceptions: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def arrays(self, batch_size=3, open_size=None, dtype="float32"):
        """Random arrays for all inputs, by name; the last row is padded."""
        generator = np.random.default_rng(0)
        size = open_size or self.open_size
        lengths = np.full(batch_size, size, "int32")
        lengths[-1] = max(1, size - 3)

        def array(name, kind):
            shape = [batch_size] + [axis or size for axis in kind.shape[1:]]
            if isinstance(kind, Floats):
                return generator.normal(size=shape).astype(dtype)
            if isinstance(kind, Ids):
                return generator.integers(0, kind.high, shape, dtype="int32")
            if isinstance(kind, Mask):
                return np.arange(size) < lengths[:, None]
            return lengths

        return _map(array, self.inputs)

    def symbols(self):
        """Symbolic inputs, by name."""
        dtypes = {Floats: None, Ids: "int32", Mask: "bool", Lengths: "int32"}
        return _map(
            lambda name, kind: keras.Input(
                kind.shape[1:], dtype=dtypes[type(kind)], name=name
            ),
            self.inputs,
        )

    def call(self, layer, arrays, **kwargs):
        """Calls the layer with a dict of inputs."""
        first, *rest = self.inputs
        return layer(
            arrays[first],
            **{name: arrays[name] for name in rest},
            **self.constants,
            **kwargs,
        )

    def model(self, **kwargs):
        """A functional model of the layer alone."""
        symbols = self.symbols()
        return keras.Model(symbols, self.call(self.make(**kwargs), symbols))


def _map(function, kinds):
    return {
        name: _map(function, kind)
        if isinstance(kind, Mapping)
        else tuple(function(f"{name}_{n}", part) for n, part in enumerate(kind))
        if isinstance(kind, tuple)
        else function(name, kind)
        for name, kind in kinds.items()
    }


def _blocks(dropout=0.0, seed=None, dtype=None):
    """Attention in the first of two blocks."""
    options = {"dropout": dropout, "dtype": dtype}
    seeds = iter([None] * 7 if seed is None else range(7 * seed, 7 * seed + 7))
    return [
        tuple(
            layers.Sublayer(layer, seed=next(seeds), **options)
            for layer in block
        )
        for block in (
            (
                layers.SelfAttention(2, 4, seed=next(seeds), **options),
                layers.FeedForward(12, "gelu", seed=next(seeds), **options),
            ),
            (
                layers.FeedForward(12, "tanh", seed=next(seeds), **options),
                keras.layers.Dense(8, dtype=dtype),
            ),
        )
    ]


def _make_reversible(blocks=None, dropout=0.0, seed=None, **kwargs):
    if blocks is None:
        blocks = _blocks(dropout, seed, kwargs.get("dtype"))
    return layers.ReversibleSequence(blocks, **kwargs)


def _make_block(dropout=0.0, seed=None, **kwargs):
    f, g = _blocks(dropout, seed, kwargs.get("dtype"))[1]
    return layers.RevBlock(**{"f": f, "g": g, **kwargs})


OF_PAIRS = {
    "test_padding_does_not_matter": "its input is a pair; tested beside it",
}

# Half precision moves a vector across the border of its bucket.
OF_HASHES = {
    "test_precisions_agree": "tested beside it, for buckets that are given",
}

OF_LOG_PROBS = {
    "test_mixed_precision": "log-probabilities are float32 under every policy",
}

OF_NEW_ROTATIONS = OF_HASHES | dict.fromkeys(
    (
        "test_compiled_gradients_equal_eager_ones",
        "test_replicas_agree_with_one_device",
    ),
    "each training step has rotations of its own; those of the case "
    "with a record are injected",
)


OF_CODES = {
    "test_gradients_equal_central_differences": "the gradient is that of the "
    "inputs, not of the codes; tested beside it",
    "test_precisions_agree": "a rounded vector may have another code; tested "
    "beside it, for vectors that are rounded already",
}

# The codebook learns by the layer's own loss, and not by its outputs.
OF_OWN_LOSS = OF_CODES | dict.fromkeys(
    (
        "test_every_trainable_weight_gets_a_finite_gradient",
        "test_compiled_gradients_equal_eager_ones",
        "test_mixed_precision",
        "test_replicas_agree_with_one_device",
    ),
    "what is trained has no part in the gradient of the outputs; tested "
    "beside it",
)

OF_NOISE = OF_CODES | dict.fromkeys(
    (
        "test_compiled_gradients_equal_eager_ones",
        "test_replicas_agree_with_one_device",
    ),
    "each training step draws noise of its own, each replica too",
)


# That a float32 logit does not notice; with none at all training warns.
NO_NOISE = 1e-30

OF_INDICES = {
    **dict.fromkeys(
        (
            "test_every_trainable_weight_gets_a_finite_gradient",
            "test_compiled_gradients_equal_eager_ones",
            "test_gradients_equal_central_differences",
            "test_mixed_precision",
            "test_replicas_agree_with_one_device",
        ),
        "indices have no gradient",
    ),
    "test_precisions_agree": OF_CODES["test_precisions_agree"],
}


def _codes():
    return keras.initializers.RandomNormal(seed=5)


def _built_dvq(dtype):
    layer = layers.DVQ(
        5, num_parts=2, codebook_initializer=_codes(), dtype=dtype
    )
    # A list, which is what JSON makes of any shape.
    layer.build([None, 8])
    return layer


def _adaptive_tables():
    """What an embedding of the same bins would give a tied softmax."""
    generator = np.random.default_rng(3)
    shapes = {
        "tables": [(4, 8), (3, 4), (4, 2)],
        "projections": [(8, 8), (4, 8), (2, 8)],
    }
    return {
        name: [generator.normal(size=shape).astype("float32") for shape in part]
        for name, part in shapes.items()
    }


SEQUENCE = Floats((None, None, 8))
IMAGE = Floats((None, None, 4, 6))
BAD_SEQUENCES = ((3, 8), (3, 7, 5), (2, 3, 7, 8))

CASES = {
    "AdaptiveEmbedding": Case(
        make=lambda **kwargs: layers.AdaptiveEmbedding(
            **{"vocabulary_size": 11, "dim": 8, **kwargs}
        ),
        inputs={"token_ids": Ids((None, None), high=11)},
        bad_arguments={
            "vocabulary_size": 0,
            "dim": 0,
            "embedding_dim": 0,
            "divisor": 0,
            "cutoffs": (4, 4),
        },
    ),
    "AdaptiveEmbedding, several bins": Case(
        make=lambda **kwargs: layers.AdaptiveEmbedding(
            **{
                "vocabulary_size": 11,
                "dim": 8,
                "cutoffs": (4, 7),
                "divisor": 2,
                **kwargs,
            }
        ),
        inputs={"token_ids": Ids((None, None), high=11)},
        bad_arguments={"cutoffs": (4, 11), "embedding_dim": 3},
    ),
    "AdaptiveSoftmax": Case(
        make=lambda **kwargs: layers.AdaptiveSoftmax(
            **{"vocabulary_size": 11, "tied_embeddings": False, **kwargs}
        ),
        inputs={"inputs": SEQUENCE},
        bad_arguments={
            "vocabulary_size": 0,
            "embedding_dim": 0,
            "divisor": 0,
            "cutoffs": (4, 4),
            "tied_projections": (True, False),
        },
        bad_shapes=((3, 7, 5),),
        exceptions=OF_LOG_PROBS,
    ),
    "AdaptiveSoftmax, several bins": Case(
        make=lambda **kwargs: layers.AdaptiveSoftmax(
            **{
                "vocabulary_size": 11,
                "cutoffs": (4, 7),
                "divisor": 2,
                "tied_embeddings": False,
                "tied_projections": False,
                **kwargs,
            }
        ),
        inputs={"inputs": SEQUENCE},
        bad_shapes=((3, 7, 5),),
        exceptions=OF_LOG_PROBS,
    ),
    "AdaptiveSoftmax, slices of one table": Case(
        make=lambda **kwargs: layers.AdaptiveSoftmax(
            **{
                "vocabulary_size": 11,
                "cutoffs": (4, 7),
                "embedding_dim": 3,
                "tied_embeddings": False,
                "tied_projections": False,
                **kwargs,
            }
        ),
        inputs={"inputs": SEQUENCE, "target_ids": Ids((None, None), high=11)},
        bad_shapes=((3, 7, 5),),
        exceptions=OF_LOG_PROBS,
    ),
    "AdaptiveSoftmax, tied": Case(
        make=lambda **kwargs: layers.AdaptiveSoftmax(
            **{
                "vocabulary_size": 11,
                "cutoffs": (4, 7),
                "divisor": 2,
                "tied_projections": (False, True, True),
                **kwargs,
            }
        ),
        inputs={"inputs": SEQUENCE},
        constants={"tables": _adaptive_tables()},
        bad_arguments={"tied_projections": (True,)},
        bad_shapes=((3, 7, 5),),
        exceptions=OF_LOG_PROBS,
    ),
    "AdaptiveSoftmax, tied, of targets": Case(
        make=lambda **kwargs: layers.AdaptiveSoftmax(
            **{
                "vocabulary_size": 11,
                "cutoffs": (4, 7),
                "divisor": 2,
                "tied_projections": (False, True, True),
                **kwargs,
            }
        ),
        inputs={"inputs": SEQUENCE, "target_ids": Ids((None, None), high=11)},
        constants={"tables": _adaptive_tables()},
        bad_shapes=((3, 7, 5),),
        exceptions=OF_LOG_PROBS,
    ),
    "AxialPositionEmbedding": Case(
        make=lambda **kwargs: layers.AxialPositionEmbedding(
            **{"shape": (3, 3), "dims": (2, 6), **kwargs}
        ),
        inputs={"inputs": SEQUENCE},
        bad_arguments={"shape": (3, 0), "dims": (8,), "dropout": 1.0},
        bad_shapes=(*BAD_SEQUENCES, (3, 10, 8)),
        dropout={"dropout": 0.5},
    ),
    "AxialPositionEmbedding from a start": Case(
        make=lambda **kwargs: layers.AxialPositionEmbedding(
            **{"shape": (2, 2, 4), "dims": (2, 3, 3), **kwargs}
        ),
        inputs={"inputs": SEQUENCE, "start": Ids((None,), high=8)},
        bad_shapes=BAD_SEQUENCES,
        dropout={"dropout": 0.5},
    ),
    "ChunkedFeedForward": Case(
        make=lambda **kwargs: layers.ChunkedFeedForward(
            **{
                "intermediate_dim": 12,
                "activation": "gelu",
                "chunk_length": 3,
                **kwargs,
            }
        ),
        inputs={"inputs": SEQUENCE},
        bad_arguments={
            "intermediate_dim": 0,
            "chunk_length": 0,
            "dropout": 1.0,
        },
        bad_shapes=((8,), (3, 7, 5)),
        dropout={"dropout": 0.5},
    ),
    "ChunkedSelfAttention": Case(
        make=lambda **kwargs: layers.ChunkedSelfAttention(
            **{
                "num_heads": 2,
                "key_dim": 4,
                "value_dim": 3,
                "chunk_length": 3,
                "chunks_after": 1,
                **kwargs,
            }
        ),
        inputs={"inputs": SEQUENCE, "padding_mask": Mask((None, None))},
        bad_arguments={
            "num_heads": 0,
            "key_dim": -1,
            "value_dim": 0,
            "chunk_length": 0,
            "chunks_before": -1,
            "chunks_after": -1,
            "dropout": 1.0,
        },
        bad_shapes=BAD_SEQUENCES,
        dropout={"dropout": 0.5},
    ),
    "ChunkedSelfAttention, causal": Case(
        make=lambda **kwargs: layers.ChunkedSelfAttention(
            **{
                "num_heads": 2,
                "key_dim": 4,
                "chunk_length": 2,
                "causal": True,
                **kwargs,
            }
        ),
        inputs={"inputs": SEQUENCE, "padding_mask": Mask((None, None))},
        bad_arguments={"chunks_after": 1},
        bad_shapes=BAD_SEQUENCES,
        dropout={"dropout": 0.5},
    ),
    "ChunkedSelfAttention, a step with a state": Case(
        make=lambda **kwargs: layers.ChunkedSelfAttention(
            **{
                "num_heads": 2,
                "key_dim": 4,
                "chunk_length": 3,
                "causal": True,
                **kwargs,
            }
        ),
        inputs={
            "inputs": SEQUENCE,
            "padding_mask": Mask((None, None)),
            "state": {
                "key": Floats((None, 2, 12, 4)),
                "value": Floats((None, 2, 12, 4)),
                "position": Ids((None,), high=5),
            },
        },
        bad_arguments={"chunks_after": 1},
        bad_shapes=BAD_SEQUENCES,
        exceptions={
            "test_padding_does_not_matter": "a state keeps what is past it",
            "test_export_serves_the_same": "served outputs cannot be nested",
        },
    ),
    "CodeDecoder": Case(
        make=lambda **kwargs: layers.CodeDecoder(
            **{"layer": _built_dvq(kwargs.get("dtype")), **kwargs}
        ),
        inputs={"inputs": Ids((None, None), high=25)},
        bad_arguments={"layer": None},
    ),
    "CodeEncoder": Case(
        make=lambda **kwargs: layers.CodeEncoder(
            **{
                "layer": layers.VQEMA(
                    9,
                    codebook_initializer=_codes(),
                    dtype=kwargs.get("dtype"),
                ),
                **kwargs,
            }
        ),
        inputs={"inputs": SEQUENCE, "mask": Mask((None, None))},
        bad_arguments={"layer": None},
        bad_shapes=((3, 7, 5), (8,)),
        exceptions=OF_INDICES,
    ),
    "CodeEncoder, of bits, with vectors": Case(
        make=lambda **kwargs: layers.CodeEncoder(
            **{
                "layer": layers.SemanticHashing(5, dtype=kwargs.get("dtype")),
                "return_vectors": True,
                **kwargs,
            }
        ),
        inputs={"inputs": SEQUENCE},
        bad_shapes=((3, 7, 5), (8,)),
        exceptions=OF_INDICES,
    ),
    "CrossAttention": Case(
        make=lambda **kwargs: layers.CrossAttention(
            **{"num_heads": 2, "key_dim": 4, "value_dim": 3, **kwargs}
        ),
        inputs={
            "inputs": SEQUENCE,
            "source": Floats((None, None, 6)),
            "source_mask": Mask((None, None)),
        },
        bad_arguments={
            "num_heads": 0,
            "key_dim": -1,
            "value_dim": 0,
            "dropout": 1.0,
        },
        bad_shapes=BAD_SEQUENCES,
        dropout={"dropout": 0.5},
        exceptions={
            "test_padding_does_not_matter": "a source is as long as it is; "
            "tested beside it",
        },
    ),
    "DVQ": Case(
        make=lambda **kwargs: layers.DVQ(
            **{"num_codes": 5, "num_parts": 2, **kwargs}
        ),
        inputs={"inputs": SEQUENCE},
        bad_arguments={
            "num_codes": 0,
            "num_parts": 0,
            "commitment": -1.0,
            "decay": 1.0,
            "epsilon": -1.0,
            "ema_init": "twos",
            "keep_unhit": True,
            "restart": 0.5,
            "samples": -1,
            "identity_gradient": True,
            "commitment_reduction": "none",
            "accumulation_steps": 0,
            "first_batch": "last",
            "masked_outputs": "ones",
        },
        bad_shapes=((3, 7, 5), (8,)),
        exceptions=OF_CODES,
    ),
    "DVQ of projections, with indices": Case(
        make=lambda **kwargs: layers.DVQ(
            **{
                "num_codes": 5,
                "num_parts": 4,
                "projected": True,
                "return_indices": True,
                "restart": layers.Restart(threshold=0.5),
                "ema_init": "zero_debias",
                "keep_unhit": True,
                "seed": 3,
                **kwargs,
            }
        ),
        inputs={"inputs": SEQUENCE, "mask": Mask((None, None))},
        bad_shapes=((3, 7, 5), (8,)),
        exceptions=OF_CODES
        | {
            "test_replicas_agree_with_one_device": "replicas draw other "
            "vectors that codes begin again from; tested beside it",
        },
    ),
    "Dropout": Case(
        make=lambda **kwargs: layers.Dropout(**{"rate": 0.0, **kwargs}),
        inputs={"inputs": SEQUENCE},
        bad_arguments={"rate": 1.0},
        dropout={"rate": 0.5},
    ),
    "FeedForward": Case(
        make=lambda **kwargs: layers.FeedForward(
            **{"intermediate_dim": 12, "activation": "gelu", **kwargs}
        ),
        inputs={"inputs": SEQUENCE},
        bad_arguments={"intermediate_dim": 0, "dropout": 1.0},
        bad_shapes=((8,), (3, 7, 5)),
        dropout={"dropout": 0.5},
    ),
    "GatedPixelConvolution": Case(
        make=lambda **kwargs: layers.GatedPixelConvolution(
            **{"filters": 6, **kwargs}
        ),
        inputs={"inputs": (IMAGE, IMAGE)},
        bad_arguments={
            "filters": 0,
            "kernel_size": 2,
            "num_classes": 0,
            "dropout": 1.0,
        },
        dropout={"dropout": 0.5},
        exceptions=OF_PAIRS,
    ),
    "GatedPixelConvolution, strict, of classes": Case(
        make=lambda **kwargs: layers.GatedPixelConvolution(
            **{
                "filters": 4,
                "kernel_size": 5,
                "strict": True,
                "num_classes": 3,
                **kwargs,
            }
        ),
        inputs={
            "inputs": (IMAGE, IMAGE),
            "condition": Floats((None, None, 4, 3)),
            "class_ids": Ids((None,), high=3),
        },
        dropout={"dropout": 0.5},
        exceptions=OF_PAIRS,
    ),
    "GumbelSoftmax": Case(
        make=lambda **kwargs: layers.GumbelSoftmax(
            **{"num_codes": 9, **kwargs}
        ),
        inputs={"inputs": SEQUENCE},
        bad_arguments={
            "num_codes": 0,
            "temperature": 0.0,
            "min_temperature": 0.0,
            "divergence": -1.0,
            "logits": "cosine",
            "masked_outputs": "ones",
        },
        bad_shapes=((3, 7, 5), (8,)),
        # Its training is random with any options.
        dropout={"temperature": 0.5},
        exceptions=OF_NOISE,
    ),
    "GumbelSoftmax of distances": Case(
        make=lambda **kwargs: layers.GumbelSoftmax(
            **{"num_codes": 9, "logits": "distance", **kwargs}
        ),
        inputs={"inputs": SEQUENCE},
        bad_shapes=((3, 7, 5), (8,)),
        exceptions=OF_NOISE,
    ),
    "GumbelSoftmax, hard, masked, with indices": Case(
        make=lambda **kwargs: layers.GumbelSoftmax(
            **{
                "num_codes": 9,
                "hard": True,
                "divergence": 0.1,
                "temperature": keras.optimizers.schedules.ExponentialDecay(
                    2.0, 1, 0.99
                ),
                "return_indices": True,
                **kwargs,
            }
        ),
        inputs={"inputs": SEQUENCE, "mask": Mask((None, None))},
        bad_shapes=((3, 7, 5), (8,)),
        exceptions=OF_NOISE,
    ),
    "LSHSelfAttention": Case(
        make=lambda **kwargs: layers.LSHSelfAttention(
            **{
                "num_heads": 2,
                "key_dim": 4,
                "value_dim": 3,
                "chunk_length": 2,
                "num_hashes": 2,
                "num_buckets": (2, 4),
                "seed": 3,
                **kwargs,
            }
        ),
        inputs={"inputs": SEQUENCE, "padding_mask": Mask((None, None))},
        bad_arguments={
            "num_heads": 0,
            "key_dim": -1,
            "value_dim": 0,
            "chunk_length": 0,
            "chunks_before": -1,
            "chunks_after": -1,
            "num_hashes": 0,
            "num_buckets": 3,
            "dropout": 1.0,
        },
        bad_shapes=BAD_SEQUENCES,
        dropout={"dropout": 0.5},
        exceptions=OF_NEW_ROTATIONS,
    ),
    "LSHSelfAttention, causal, of whole chunks": Case(
        make=lambda **kwargs: layers.LSHSelfAttention(
            **{
                "num_heads": 2,
                "key_dim": 4,
                "chunk_length": 2,
                "causal": True,
                "seed": 3,
                **kwargs,
            }
        ),
        inputs={"inputs": SEQUENCE},
        bad_arguments={"chunks_after": 1, "num_buckets": (4, 5)},
        bad_shapes=BAD_SEQUENCES,
        dropout={"dropout": 0.5},
        open_size=8,
        exceptions={
            **OF_NEW_ROTATIONS,
            "test_padding_does_not_matter": "without a mask, what comes later "
            "takes part in the sorting",
        },
    ),
    "LSHSelfAttention, with its record": Case(
        make=lambda **kwargs: layers.LSHSelfAttention(
            **{
                "num_heads": 2,
                "key_dim": 4,
                "chunk_length": 2,
                "num_hashes": 2,
                "num_buckets": 4,
                "reference_compatible": True,
                "injected_rotations": True,
                "seed": 3,
                **kwargs,
            }
        ),
        inputs={"inputs": SEQUENCE, "padding_mask": Mask((None, None))},
        constants={"return_record": True},
        bad_arguments={"num_buckets": None},
        bad_shapes=BAD_SEQUENCES,
        exceptions={
            **OF_HASHES,
            "test_padding_does_not_matter": "the checkpoints' rounds are a "
            "ring of all chunks, padded ones too",
            "test_export_serves_the_same": "served outputs cannot be nested",
        },
    ),
    "LSHSelfAttention, a step with a state": Case(
        make=lambda **kwargs: layers.LSHSelfAttention(
            **{
                "num_heads": 2,
                "key_dim": 4,
                "chunk_length": 2,
                "num_hashes": 2,
                "causal": True,
                "seed": 3,
                **kwargs,
            }
        ),
        inputs={
            "inputs": SEQUENCE,
            "padding_mask": Mask((None, None)),
            "state": {
                "query_key": Floats((None, 2, 12, 4)),
                "value": Floats((None, 2, 12, 4)),
                "buckets": Ids((None, 2, 2, 12), high=6),
                "order": Ids((None, 2, 2, 12), high=12),
                "position": Ids((None,), high=5),
            },
        },
        bad_shapes=BAD_SEQUENCES,
        exceptions={
            **OF_NEW_ROTATIONS,
            "test_padding_does_not_matter": "a state keeps what is past it",
            "test_export_serves_the_same": "served outputs cannot be nested",
            "test_precisions_agree": "a rounded vector may be hashed to "
            "another bucket, which the state tells",
        },
    ),
    "LearnedPositions": Case(
        make=lambda **kwargs: layers.LearnedPositions(
            **{"max_length": 9, **kwargs}
        ),
        inputs={"inputs": SEQUENCE},
        bad_arguments={"max_length": 0},
        bad_shapes=(*BAD_SEQUENCES, (3, 10, 8)),
    ),
    "LearnedPositions from a start": Case(
        make=lambda **kwargs: layers.LearnedPositions(
            **{"max_length": 15, **kwargs}
        ),
        inputs={"inputs": SEQUENCE, "start": Ids((None,), high=8)},
        bad_shapes=BAD_SEQUENCES,
    ),
    "MultiBranchAttention": Case(
        make=lambda **kwargs: layers.MultiBranchAttention(
            **{"num_branches": 2, "intermediate_dim": 12, **kwargs}
        ),
        inputs={"query": SEQUENCE, "padding_mask": Mask((None, None))},
        bad_arguments={
            "num_branches": 0,
            "intermediate_dim": 13,
            "key_dim": 0,
            "value_dim": -1,
            "weighting": "gated",
            "branch_scale": 2.0,
            "min_weight": 0.5,
            "ffn_mode": "none",
            "fold": "never",
            "dropout": 1.0,
            "hidden_dropout": -0.1,
        },
        bad_shapes=BAD_SEQUENCES,
        dropout={"dropout": 0.5},
    ),
    "MultiBranchAttention, of a source, not folded": Case(
        make=lambda **kwargs: layers.MultiBranchAttention(
            **{
                "num_branches": 2,
                "intermediate_dim": 12,
                "key_dim": 3,
                "use_bias": True,
                "fold": False,
                "branch_scale": "unit",
                **kwargs,
            }
        ),
        inputs={
            "query": SEQUENCE,
            "value": Floats((None, None, 5)),
            "value_mask": Mask((None, None)),
        },
        bad_arguments={"num_branches": -1},
        bad_shapes=BAD_SEQUENCES,
        dropout={"hidden_dropout": 0.5},
        exceptions={
            "test_padding_does_not_matter": "a source is as long as it is; "
            "tested beside it",
        },
    ),
    "MultiBranchAttention, of one network, causal": Case(
        make=lambda **kwargs: layers.MultiBranchAttention(
            **{
                "num_branches": 2,
                "intermediate_dim": 5,
                "ffn_mode": "shared",
                "weighting": "softmax",
                "activation": "gelu",
                **kwargs,
            }
        ),
        inputs={"query": SEQUENCE},
        constants={"use_causal_mask": True},
        bad_shapes=BAD_SEQUENCES,
        dropout={"dropout": 0.5, "hidden_dropout": 0.5},
    ),
    "MultiBranchAttention, a step with a state": Case(
        make=lambda **kwargs: layers.MultiBranchAttention(
            **{
                "num_branches": 2,
                "intermediate_dim": 12,
                "factorized": False,
                "branch_initializer": "random",
                **kwargs,
            }
        ),
        inputs={
            "query": SEQUENCE,
            "padding_mask": Mask((None, None)),
            "state": {
                "key": Floats((None, 2, 12, 4)),
                "value": Floats((None, 2, 12, 4)),
                "position": Ids((None,), high=5),
            },
        },
        bad_shapes=BAD_SEQUENCES,
        exceptions={
            "test_padding_does_not_matter": "a state keeps what is past it",
            "test_export_serves_the_same": "served outputs cannot be nested",
        },
    ),
    "PaddedLength": Case(
        make=lambda **kwargs: layers.PaddedLength(
            **{
                "layer": layers.SelfAttention(2, 4, dtype=kwargs.get("dtype")),
                "multiple": 4,
                "longer_than": 2,
                **kwargs,
            }
        ),
        inputs={"inputs": SEQUENCE, "padding_mask": Mask((None, None))},
        bad_arguments={"layer": None, "multiple": 0, "longer_than": -1},
        bad_shapes=((3,), (3, 8)),
    ),
    "PaddingMask": Case(
        make=layers.PaddingMask,
        inputs={"inputs": SEQUENCE, "length": Lengths()},
        bad_shapes=((3,),),
        exceptions={
            "test_padding_does_not_matter": "it tells where the padding is",
            "test_precisions_agree": "its output is boolean",
        },
    ),
    "RasterSequence": Case(
        make=lambda **kwargs: layers.RasterSequence(
            **{"shapes": [(2, 3), (3, 4)], "num_codes": [5, 7], **kwargs}
        ),
        inputs={
            "inputs": (Ids((None, 2, 3), high=5), Ids((None, 3, 4), high=7))
        },
        bad_arguments={
            "shapes": [(2, 3), (3,)],
            "num_codes": [5, 0],
            "num_classes": 0,
        },
        length_axis=None,
    ),
    "RasterSequence, in reverse": Case(
        make=lambda **kwargs: layers.RasterSequence(
            **{
                "shapes": [(2, 3)],
                "num_codes": [5],
                "num_classes": 4,
                **kwargs,
            }
        ),
        inputs={"inputs": Floats((None, 6, 9))},
        constants={"reverse": True},
        bad_shapes=((3, 6, 8), (3, 9)),
        length_axis=None,
    ),
    "RelativeAttention": Case(
        make=lambda **kwargs: layers.RelativeAttention(
            **{
                "num_heads": 2,
                "key_dim": 4,
                "value_dim": 3,
                "biases_initializer": "glorot_uniform",
                **kwargs,
            }
        ),
        inputs={"inputs": SEQUENCE, "padding_mask": Mask((None, None))},
        bad_arguments={
            "num_heads": 0,
            "key_dim": -1,
            "value_dim": 0,
            "clamp_length": 0,
            "attention_window": 0,
            "dropout": 1.0,
        },
        bad_shapes=BAD_SEQUENCES,
        dropout={"dropout": 0.5},
    ),
    "RelativeAttention, with a memory and a window": Case(
        make=lambda **kwargs: layers.RelativeAttention(
            **{
                "num_heads": 2,
                "key_dim": 4,
                "clamp_length": 4,
                "attention_window": 5,
                "use_bias": True,
                "biases_initializer": "glorot_uniform",
                **kwargs,
            }
        ),
        inputs={
            "inputs": SEQUENCE,
            "memory": Floats((None, 6, 8)),
            "memory_length": Ids((None,), high=7),
            "padding_mask": Mask((None, None)),
        },
        bad_shapes=BAD_SEQUENCES,
        dropout={"dropout": 0.5},
        exceptions={
            "test_padding_does_not_matter": "a memory is as long as it is; "
            "tested beside it",
        },
    ),
    "RelativeAttention, a step with a state": Case(
        make=lambda **kwargs: layers.RelativeAttention(
            **{
                "num_heads": 2,
                "key_dim": 4,
                "biases_initializer": "glorot_uniform",
                **kwargs,
            }
        ),
        inputs={
            "inputs": SEQUENCE,
            "padding_mask": Mask((None, None)),
            "state": {
                "key": Floats((None, 2, 12, 4)),
                "value": Floats((None, 2, 12, 4)),
                "positions": Floats((None, 2, 14, 4)),
                "position": Ids((None,), high=5),
            },
        },
        bad_shapes=BAD_SEQUENCES,
        exceptions={
            "test_padding_does_not_matter": "a state keeps what came last",
            "test_export_serves_the_same": "served outputs cannot be nested",
        },
    ),
    "RelativeBiases": Case(
        make=lambda **kwargs: layers.RelativeBiases(
            **{
                "num_heads": 2,
                "key_dim": 4,
                "biases_initializer": "glorot_uniform",
                **kwargs,
            }
        ),
        inputs={"inputs": SEQUENCE},
        bad_arguments={"num_heads": 0, "key_dim": -1},
        length_axis=None,
        exceptions={
            "test_gradients_equal_central_differences": "what is given only "
            "places it in a model",
            "test_any_batch_and_length": "its outputs have no batch",
            "test_replicas_agree_with_one_device": "its outputs have no batch",
        },
    ),
    "RelativePositions": Case(
        make=lambda **kwargs: layers.RelativePositions(
            **{"clamp_length": 9, **kwargs}
        ),
        inputs={"inputs": SEQUENCE, "memory": Floats((None, 2, 6, 8))},
        bad_arguments={"clamp_length": 0, "dropout": 1.0},
        bad_shapes=BAD_SEQUENCES,
        dropout={"dropout": 0.5},
        length_axis=None,
        exceptions={
            "test_gradients_equal_central_differences": "its output depends "
            "on shapes alone",
            "test_any_batch_and_length": "its output has no batch",
            "test_replicas_agree_with_one_device": "its output has no batch",
        },
    ),
    "Residual": Case(
        make=lambda **kwargs: layers.Residual(
            **{
                "layer": layers.FeedForward(12, dtype=kwargs.get("dtype")),
                **kwargs,
            }
        ),
        inputs={"inputs": SEQUENCE},
        bad_arguments={"layer": None, "dropout": -0.1, "epsilon": 0.0},
        bad_shapes=((8,), (3, 7, 5)),
        dropout={"dropout": 0.5},
    ),
    "Residual, normalized last, of attention": Case(
        make=lambda **kwargs: layers.Residual(
            **{
                "layer": layers.SelfAttention(2, 4, dtype=kwargs.get("dtype")),
                "norm_first": False,
                **kwargs,
            }
        ),
        inputs={"inputs": SEQUENCE, "padding_mask": Mask((None, None))},
        bad_shapes=BAD_SEQUENCES,
        dropout={"dropout": 0.5},
    ),
    "RevBlock": Case(
        make=_make_block,
        inputs={"inputs": (SEQUENCE, SEQUENCE)},
        bad_arguments={"f": None, "g": 3},
        dropout={"dropout": 0.5},
        exceptions=OF_PAIRS,
    ),
    "ReversibleSequence": Case(
        make=_make_reversible,
        inputs={
            "inputs": (SEQUENCE, SEQUENCE),
            "padding_mask": Mask((None, None)),
        },
        bad_arguments={"blocks": []},
        dropout={"dropout": 0.5},
        exceptions=OF_PAIRS,
    ),
    "SelfAttention": Case(
        make=lambda **kwargs: layers.SelfAttention(
            **{"num_heads": 2, "key_dim": 4, **kwargs}
        ),
        inputs={"inputs": SEQUENCE, "padding_mask": Mask((None, None))},
        bad_arguments={
            "num_heads": 0,
            "key_dim": -1,
            "value_dim": 0,
            "dropout": 1.0,
        },
        bad_shapes=BAD_SEQUENCES,
        dropout={"dropout": 0.5},
    ),
    "SelfAttention, causal and rotary": Case(
        make=lambda **kwargs: layers.SelfAttention(
            **{
                "num_heads": 2,
                "key_dim": 4,
                "value_dim": 3,
                "causal": True,
                "rotary": True,
                **kwargs,
            }
        ),
        inputs={"inputs": SEQUENCE},
        bad_arguments={"key_dim": 3},
        bad_shapes=BAD_SEQUENCES,
        dropout={"dropout": 0.5},
    ),
    "SelfAttention, a step with a state": Case(
        make=lambda **kwargs: layers.SelfAttention(
            **{"num_heads": 2, "key_dim": 4, "causal": True, **kwargs}
        ),
        inputs={
            "inputs": SEQUENCE,
            "padding_mask": Mask((None, None)),
            "state": {
                "key": Floats((None, 2, 12, 4)),
                "value": Floats((None, 2, 12, 4)),
                "position": Ids((None,), high=5),
            },
        },
        bad_shapes=BAD_SEQUENCES,
        exceptions={
            "test_padding_does_not_matter": "a state keeps what is past it",
            "test_export_serves_the_same": "served outputs cannot be nested",
        },
    ),
    "SemanticHashing": Case(
        make=lambda **kwargs: layers.SemanticHashing(
            **{
                "num_bits": 6,
                "noise_stddev": NO_NOISE,
                "hard_fraction": 1,
                **kwargs,
            }
        ),
        inputs={"inputs": SEQUENCE},
        bad_arguments={
            "num_bits": 32,
            "noise_stddev": -1.0,
            "hard_fraction": 1.5,
            "masked_outputs": "ones",
        },
        bad_shapes=((3, 7, 5), (8,)),
        dropout={"noise_stddev": 1.0, "hard_fraction": 0.5},
        exceptions=OF_CODES,
    ),
    "SemanticHashing, masked, with indices": Case(
        make=lambda **kwargs: layers.SemanticHashing(
            **{
                "num_bits": 31,
                "noise_stddev": NO_NOISE,
                "hard_fraction": 0.0,
                "return_indices": True,
                **kwargs,
            }
        ),
        inputs={"inputs": SEQUENCE, "mask": Mask((None, None))},
        bad_shapes=((3, 7, 5), (8,)),
        exceptions=OF_CODES,
    ),
    "SinusoidalPositions": Case(
        make=layers.SinusoidalPositions,
        inputs={"inputs": SEQUENCE, "start": Ids((None,), high=100)},
        bad_shapes=((3, 8), (3, 7, 5), (2, 3, 7, 8)),
    ),
    "Sublayer": Case(
        make=lambda **kwargs: layers.Sublayer(
            **{
                "layer": layers.SelfAttention(2, 4, dtype=kwargs.get("dtype")),
                **kwargs,
            }
        ),
        inputs={"inputs": SEQUENCE, "padding_mask": Mask((None, None))},
        bad_arguments={"layer": None, "dropout": -0.1, "epsilon": 0.0},
        bad_shapes=BAD_SEQUENCES,
        dropout={"dropout": 0.5},
    ),
    "TokenEmbedding": Case(
        make=lambda **kwargs: layers.TokenEmbedding(
            **{"vocabulary_size": 11, "dim": 8, **kwargs}
        ),
        inputs={"inputs": Ids((None, None), high=11)},
        bad_arguments={"vocabulary_size": 0, "dim": 0},
    ),
    "TokenEmbedding, reversed": Case(
        make=lambda **kwargs: layers.TokenEmbedding(
            **{"vocabulary_size": 11, "dim": 8, **kwargs}
        ),
        inputs={"inputs": SEQUENCE},
        constants={"reverse": True},
        bad_shapes=((3, 7, 5),),
        exceptions={
            "test_mixed_precision": "logits are float32 under every policy",
        },
    ),
    "VQ": Case(
        make=lambda **kwargs: layers.VQ(**{"num_codes": 9, **kwargs}),
        inputs={"inputs": SEQUENCE},
        bad_arguments={
            "num_codes": 0,
            "commitment": -1.0,
            "commitment_reduction": "none",
            "first_batch": "last",
            "masked_outputs": "ones",
        },
        bad_shapes=((3, 7, 5), (8,)),
        exceptions=OF_OWN_LOSS,
    ),
    "VQEMA": Case(
        make=lambda **kwargs: layers.VQEMA(**{"num_codes": 9, **kwargs}),
        inputs={"inputs": SEQUENCE},
        bad_arguments={
            "num_codes": 0,
            "commitment": -1.0,
            "decay": 1.0,
            "epsilon": -1.0,
            "ema_init": "twos",
            "keep_unhit": True,
            "restart": 0.5,
            "samples": -1,
            "commitment_reduction": "none",
            "accumulation_steps": 0,
            "first_batch": "last",
            "masked_outputs": "ones",
        },
        bad_shapes=((3, 7, 5), (8,)),
        exceptions=OF_CODES,
    ),
    "VQEMA from its first batch, accumulated": Case(
        make=lambda **kwargs: layers.VQEMA(
            **{
                "num_codes": 9,
                "first_batch": "data",
                "accumulation_steps": 2,
                "masked_outputs": "inputs",
                "seed": 3,
                **kwargs,
            }
        ),
        inputs={"inputs": SEQUENCE, "mask": Mask((None, None))},
        bad_shapes=((3, 7, 5), (8,)),
        exceptions=OF_CODES,
    ),
    "VQEMA, masked, with indices": Case(
        make=lambda **kwargs: layers.VQEMA(
            **{
                "num_codes": 100,
                "return_indices": True,
                "ema_init": "zero_debias",
                **kwargs,
            }
        ),
        inputs={"inputs": SEQUENCE, "mask": Mask((None, None))},
        bad_shapes=((3, 7, 5), (8,)),
        exceptions=OF_CODES,
    ),
    "XLMemory": Case(
        make=lambda **kwargs: layers.XLMemory(**{"memory_length": 4, **kwargs}),
        inputs={
            "inputs": Floats((None, 2, None, 8)),
            "memory": Floats((None, 2, 4, 8)),
            "memory_length": Ids((None,), high=5),
            "length": Lengths(),
        },
        bad_arguments={"memory_length": -1},
        bad_shapes=((3, 7, 8), (3, 2, 7, 5), (3, 3, 7, 8)),
        length_axis=None,
        exceptions={
            "test_gradients_equal_central_differences": "no gradient goes "
            "through a memory",
            "test_mixed_precision": "a memory stays as precise as it is",
            "test_precisions_agree": "a memory stays as precise as it is",
        },
    ),
}
