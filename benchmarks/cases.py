"""What is measured: cases, their sizes, and who takes part."""

import dataclasses
from collections.abc import Mapping

from benchmarks.branch_blocks import block_flops
from benchmarks.flops import causal_pairs
from benchmarks.flops import count_weights
from benchmarks.flops import forward_flops
from benchmarks.translation_work import translation_bytes
from benchmarks.translation_work import translation_flops

SMALL = {
    "vocabulary_size": 261,
    "num_layers": 3,
    "hidden_dim": 128,
    "num_heads": 4,
    "intermediate_dim": 512,
    "dropout": 0.0,
}
# Table 3 of Vaswani et al. (2017), with a vocabulary of a few thousand.
BASE = {
    "vocabulary_size": 8192,
    "num_layers": 6,
    "hidden_dim": 512,
    "num_heads": 8,
    "intermediate_dim": 2048,
    "dropout": 0.0,
}
# Of base's width, without a vocabulary.
BLOCK = {"hidden_dim": 512, "num_heads": 8, "intermediate_dim": 2048}
# Blocks by the names of contestants; all are compared with the first.
BLOCKS = {
    "standard block": "standard",
    "branches folded": "folded",
    "branches unfolded": "unfolded",
    "networks in a loop": "loop",
    "heads and networks in a loop": "loop of heads",
    "stock Keras block": "stock",
}
# That of the trainings on Multi30k.
TRANSLATION = {
    "vocabulary_size": 5000,
    "num_layers": 3,
    "hidden_dim": 128,
    "num_heads": 8,
    "intermediate_dim": 512,
}
BASE_TRANSLATION = {name: BASE[name] for name in TRANSLATION}
# About as long as the captions, in pieces.
TRANSLATION_LENGTHS = {"source_length": 16, "length": 24}
OURS = "keras_xf"
OURS_XLA = "keras_xf XLA"
RECOMPUTING = "keras_xf without cache"


@dataclasses.dataclass(frozen=True)
class Worker:
    """How to start a contestant.

    Attributes:
        environment: Where it runs, see `environments.find_python`.
        script: File in `benchmarks/workers`.
        settings: What it is told beside the case's sizes.
        variables: Environment variables of its process.
    """

    environment: str
    script: str
    settings: Mapping
    variables: Mapping = dataclasses.field(default_factory=dict)

    @property
    def mode(self) -> tuple:
        """How it computes: what is alike is compared with like."""
        return self.settings.get("xla"), tuple(sorted(self.variables.items()))


@dataclasses.dataclass(frozen=True)
class Case:
    """One thing to do, by several contestants.

    Attributes:
        description: One line for the table.
        task: The case as workers name it.
        sizes: What workers are told.
        contestants: Names in `WORKERS`. The first is what all are compared
            with.
        flops: Floating-point operations that one call cannot do without.
        read_bytes: Bytes that one call cannot do without moving, where they
            do not fit the caches.
    """

    description: str
    task: str
    sizes: Mapping
    contestants: tuple[str, ...]
    flops: float
    read_bytes: float = 0.0


def _keras(implementation, environment, xla, onednn=False):
    return Worker(
        environment,
        "keras_models.py",
        {"implementation": implementation, "xla": xla},
        # TensorFlow's products are faster with it on processors without
        # AVX-512, where it is off unless asked for.
        {"TF_ENABLE_ONEDNN_OPTS": "1"} if onednn else {},
    )


def _translation(implementation, xla=False, saved=False):
    return Worker(
        "keras_xf",
        "keras_translation.py",
        {"implementation": implementation, "xla": xla, "saved": saved},
    )


WORKERS = {
    OURS: _keras("keras_xf", "keras_xf", xla=False),
    OURS_XLA: _keras("keras_xf", "keras_xf", xla=True),
    "keras_xf oneDNN": _keras("keras_xf", "keras_xf", xla=False, onednn=True),
    "keras_xf oneDNN XLA": _keras(
        "keras_xf", "keras_xf", xla=True, onednn=True
    ),
    RECOMPUTING: Worker(
        "keras_xf",
        "keras_models.py",
        {"implementation": "keras_xf", "xla": False, "recomputing": True},
    ),
    "stock Keras": _keras("stock", "keras_xf", xla=False),
    "stock Keras XLA": _keras("stock", "keras_xf", xla=True),
    "stock Keras oneDNN": _keras("stock", "keras_xf", xla=False, onednn=True),
    "stock Keras oneDNN XLA": _keras(
        "stock", "keras_xf", xla=True, onednn=True
    ),
    "KerasHub": _keras("keras_hub", "keras_hub", xla=False),
    "KerasHub XLA": _keras("keras_hub", "keras_hub", xla=True),
    **{
        f"{name}{' XLA' if xla else ''}": Worker(
            "keras_xf",
            "keras_blocks.py",
            {"implementation": implementation, "xla": xla},
        )
        for xla in (False, True)
        for name, implementation in BLOCKS.items()
    },
    "keras_xf translation": _translation("standard"),
    "keras_xf translation XLA": _translation("standard", xla=True),
    "keras_xf translation SavedModel": _translation("standard", saved=True),
    "keras_xf branches": _translation("weighted"),
    "keras_xf branches XLA": _translation("weighted", xla=True),
    "Marian": Worker("huggingface", "torch_marian.py", {}),
    "VQEMA": Worker("keras_xf", "keras_quantizer.py", {"xla": False}),
    "VQEMA XLA": Worker("keras_xf", "keras_quantizer.py", {"xla": True}),
    "Sonnet": Worker("sonnet", "sonnet_quantizer.py", {"xla": False}),
    "Sonnet XLA": Worker("sonnet", "sonnet_quantizer.py", {"xla": True}),
    "vector-quantize-pytorch": Worker(
        "vector_quantize_pytorch", "torch_quantizer.py", {}
    ),
    "torch": Worker("torch", "torch_layers.py", {"compiled": False}),
    "torch.compile": Worker("torch", "torch_layers.py", {"compiled": True}),
}


# Of a whole processor that is shared, a few MiB.
CACHE_BYTES = 16 * 2**20


def _fits_cache(sizes):
    return 4 * count_weights(sizes) < CACHE_BYTES


def _training_step(model, batch_size, length, **settings):
    sizes = {**model, "batch_size": batch_size, "length": length}
    num_pairs = causal_pairs(batch_size, length)
    forward = forward_flops(sizes, batch_size * length, num_pairs)
    return Case(
        task="training_step",
        sizes=sizes,
        # Each product has two in the backward pass.
        flops=3 * forward,
        **settings,
    )


def _generation(model, batch_size, length, **settings):
    sizes = {**model, "batch_size": batch_size, "length": length}
    num_pairs = causal_pairs(batch_size, length)
    # Each token reads all weights and what is cached before it.
    read_bytes = 4 * count_weights(sizes) * length
    read_bytes += 2 * 4 * sizes["num_layers"] * num_pairs * sizes["hidden_dim"]
    return Case(
        task="generation",
        sizes=sizes,
        flops=forward_flops(sizes, batch_size * length, num_pairs),
        read_bytes=0.0 if _fits_cache(sizes) else read_bytes,
        **settings,
    )


def _block_step(batch_size, length):
    sizes = {**BLOCK, "batch_size": batch_size, "length": length}
    return Case(
        description=(
            f"training step of a block, 512, batch {batch_size} x {length}"
        ),
        task="training_step",
        sizes=sizes,
        contestants=tuple(
            name
            for name, worker in WORKERS.items()
            if worker.script == "keras_blocks.py"
        ),
        # The folded one does with fewer: see `flops`.
        flops=block_flops(sizes),
    )


def _quantization(num_vectors, num_codes):
    dim = 64
    return Case(
        description=(
            f"training step of vector quantization, {num_vectors} x {dim}, "
            f"{num_codes} codes"
        ),
        task="quantization",
        sizes={"num_vectors": num_vectors, "dim": dim, "num_codes": num_codes},
        contestants=tuple(
            name
            for name, worker in WORKERS.items()
            if worker.script.endswith("_quantizer.py")
        ),
        # The distances; sums, averages and gradients are next to nothing.
        flops=2.0 * num_vectors * num_codes * dim,
    )


def _translation_of(model, batch_size, num_beams):
    sizes = {
        **model,
        **TRANSLATION_LENGTHS,
        "batch_size": batch_size,
        "num_beams": num_beams,
    }
    read_bytes = translation_bytes(sizes)
    num_bytes = read_bytes / sizes["length"]
    how = f"beam {num_beams}" if num_beams > 1 else "greedy"
    return Case(
        description=(
            f"24 tokens from 16, {model['num_layers']} x "
            f"{model['hidden_dim']}, {how}, batch {batch_size}"
        ),
        task="translation",
        sizes=sizes,
        contestants=tuple(
            name
            for name, worker in WORKERS.items()
            if worker.script in ("keras_translation.py", "torch_marian.py")
        ),
        flops=translation_flops(sizes),
        read_bytes=0.0 if num_bytes < CACHE_BYTES else read_bytes,
    )


TRAINING = tuple(
    name
    for name, worker in WORKERS.items()
    if name != RECOMPUTING
    and worker.script in ("keras_models.py", "torch_layers.py")
)
# `torch.compile` of a Python loop that grows a cache compiles each length.
GENERATION = (
    OURS,
    OURS_XLA,
    RECOMPUTING,
    "stock Keras",
    "stock Keras XLA",
    "KerasHub",
    "KerasHub XLA",
    "torch",
)

CASES = {
    "training_step": _training_step(
        SMALL,
        16,
        128,
        description="training step, 3 x 128, batch 16 x 128",
        contestants=TRAINING,
    ),
    "training_step_base": _training_step(
        BASE,
        8,
        128,
        description="training step, 6 x 512, batch 8 x 128",
        contestants=TRAINING,
    ),
    "generation": _generation(
        SMALL,
        1,
        256,
        description="256 tokens, 3 x 128, 1 row",
        contestants=GENERATION,
    ),
    "generation_batch": _generation(
        SMALL,
        8,
        256,
        description="256 tokens, 3 x 128, 8 rows",
        contestants=GENERATION,
    ),
    "generation_512": _generation(
        SMALL,
        8,
        512,
        description="512 tokens, 3 x 128, 8 rows",
        contestants=(OURS, OURS_XLA, RECOMPUTING, "torch"),
    ),
    "generation_base": _generation(
        BASE,
        1,
        64,
        description="64 tokens, 6 x 512, 1 row",
        contestants=GENERATION,
    ),
    **{
        f"translation{size}_{how}_{batch_size}": _translation_of(
            model, batch_size, num_beams
        )
        for size, model in (("", TRANSLATION), ("_base", BASE_TRANSLATION))
        for how, num_beams in (("greedy", 1), ("beam", 5))
        for batch_size in (1, 64)
    },
    "quantization_512": _quantization(16384, 512),
    "quantization_8192": _quantization(16384, 8192),
    "quantization_many": _quantization(65536, 1024),
    "branches_4k": _block_step(64, 64),
    "branches_16k": _block_step(256, 64),
}
