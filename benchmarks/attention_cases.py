"""Layers of attention at one length: cases, and who takes part."""

from collections.abc import Mapping

from benchmarks import attention_work
from benchmarks.cases import Case
from benchmarks.cases import Worker

# One row of 8 heads of 64; chunks as the Reformer's defaults have them.
SIZES = {
    "batch_size": 1,
    "hidden_dim": 512,
    "num_heads": 8,
    "chunk_length": 64,
}
DIRECTIONS = {"forward": "forward", "training": "forward and backward"}
SDPA = "torch SDPA"


def _keras(implementation, xla, onednn=False):
    return Worker(
        "keras_xf",
        "keras_attention.py",
        {"implementation": implementation, "xla": xla},
        {"TF_ENABLE_ONEDNN_OPTS": "1"} if onednn else {},
    )


def _torch(implementation, environment):
    return Worker(
        environment, "torch_attention.py", {"implementation": implementation}
    )


# The first of each is what the others are compared with.
LSH_WORKERS = {
    "keras_xf LSH": _keras("lsh", xla=False),
    "keras_xf LSH XLA": _keras("lsh", xla=True),
    "keras_xf LSH oneDNN": _keras("lsh", xla=False, onednn=True),
    "Hugging Face LSH": _torch("huggingface", "huggingface"),
    "reformer-pytorch LSH": _torch("reformer_pytorch", "reformer_pytorch"),
    # Where it stops being the faster one is seen best beside the others.
    SDPA: _torch("sdpa", "torch"),
}
DENSE_WORKERS = {
    # What the library chooses for the length.
    "keras_xf dense": _keras("dense", xla=False),
    "keras_xf dense XLA": _keras("dense", xla=True),
    "keras_xf dense oneDNN": _keras("dense", xla=False, onednn=True),
    "keras_xf blockwise": _keras("blockwise", xla=False),
    "keras_xf blockwise XLA": _keras("blockwise", xla=True),
    "keras_xf plain": _keras("plain", xla=False),
    "keras_xf plain XLA": _keras("plain", xla=True),
    "stock Keras": _keras("stock", xla=False),
    "stock Keras XLA": _keras("stock", xla=True),
    SDPA: _torch("sdpa", "torch"),
}
WORKERS = {**LSH_WORKERS, **DENSE_WORKERS}


def attention_case(
    direction: str, length: int, num_hashes: int, sizes: Mapping = SIZES
) -> Case:
    """One layer at one length.

    Args:
        direction: "forward", or "training" for the gradients, too.
        length: Tokens of the row.
        num_hashes: Rounds of hashing; 0 is dense attention.
        sizes: The other sizes, as `SIZES` has them.
    """
    sizes = {**sizes, "length": length, "num_hashes": num_hashes}
    training = direction == "training"
    count_flops, count_bytes, workers, kind = (
        (
            attention_work.lsh_flops,
            attention_work.lsh_bytes,
            LSH_WORKERS,
            f"LSH attention, {num_hashes} hashes",
        )
        if num_hashes
        else (
            attention_work.dense_flops,
            attention_work.dense_bytes,
            DENSE_WORKERS,
            "dense attention",
        )
    )
    return Case(
        description=f"{kind}, length {length}, {DIRECTIONS[direction]}",
        task=direction,
        sizes=sizes,
        contestants=tuple(workers),
        flops=count_flops(sizes, training),
        read_bytes=count_bytes(sizes, training),
    )


def case_name(direction: str, length: int, num_hashes: int) -> str:
    """What results call a case."""
    kind = f"lsh_{num_hashes}" if num_hashes else "dense"
    return f"attention_{kind}_{direction}_{length}"
