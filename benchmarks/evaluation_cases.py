"""Evaluation of a Transformer-XL: cases, and who takes part."""

from collections.abc import Mapping

from benchmarks import evaluation_work
from benchmarks.cases import Case
from benchmarks.cases import Worker

# As the authors' 12-layer model of enwik8, at half its width; they evaluate it
# with this clamp, too.
SIZES = {
    "vocabulary_size": 256,
    "num_layers": 12,
    "hidden_dim": 256,
    "num_heads": 8,
    "intermediate_dim": 1024,
    "clamp_length": 820,
}
OURS = "keras_xf"
OURS_WINDOW = "keras_xf window"


def _ours(method, xla, implementation="transformer_xl"):
    return Worker(
        "keras_xf",
        "keras_evaluation.py",
        {"implementation": implementation, "method": method, "xla": xla},
    )


def _huggingface(method, compiled=False):
    return Worker(
        "huggingface",
        "torch_evaluation.py",
        {"method": method, "compiled": compiled},
    )


def _model_garden(method, xla):
    return Worker(
        "model_garden", "garden_evaluation.py", {"method": method, "xla": xla}
    )


# The first is what the others are compared with.
MEMORY_WORKERS = {
    OURS: _ours("memory", xla=False),
    f"{OURS} XLA": _ours("memory", xla=True),
    f"{OURS} hidden states": _ours("hidden", xla=False),
    f"{OURS} hidden states XLA": _ours("hidden", xla=True),
    "Hugging Face": _huggingface("hidden"),
    "Hugging Face torch.compile": _huggingface("hidden", compiled=True),
    "Model Garden": _model_garden("hidden", xla=False),
    "Model Garden XLA": _model_garden("hidden", xla=True),
}
WINDOW_WORKERS = {
    OURS_WINDOW: _ours("window", xla=False),
    f"{OURS_WINDOW} XLA": _ours("window", xla=True),
    f"{OURS} Transformer window": _ours("window", False, "transformer"),
    f"{OURS} Transformer window XLA": _ours("window", True, "transformer"),
    "Hugging Face window": _huggingface("window"),
    "Hugging Face window torch.compile": _huggingface("window", compiled=True),
    "Model Garden window": _model_garden("window", xla=False),
    "Model Garden window XLA": _model_garden("window", xla=True),
}
WORKERS = {**MEMORY_WORKERS, **WINDOW_WORKERS}


def evaluation_case(
    length: int,
    segment_length: int,
    windows: bool,
    sizes: Mapping = SIZES,
) -> Case:
    """Evaluation at one attention length.

    Args:
        length: Positions of a window, and of a memory and a segment together.
        segment_length: Positions that are taken at once with a memory.
        windows: Whether windows take part, which know no segments.
        sizes: The other sizes, as `SIZES` has them.
    """
    sizes = {
        **sizes,
        "length": length,
        "segment_length": segment_length,
        "memory_length": length - segment_length,
    }
    return Case(
        description=f"evaluation, attention length {length}, segments of "
        f"{segment_length}",
        task="evaluation",
        sizes=sizes,
        contestants=tuple(WORKERS if windows else MEMORY_WORKERS),
        flops=evaluation_work.evaluation_flops(sizes, "memory"),
        read_bytes=evaluation_work.evaluation_bytes(sizes, "memory"),
    )


def contestant_work(name: str, sizes: Mapping) -> dict:
    """What one call of a contestant is, for its record.

    Args:
        name: A name in `WORKERS`.
        sizes: Sizes of a case of `evaluation_case`.

    Returns:
        A dict of `method`, `tokens`, how many are predicted, `flops` and
        `read_bytes`.
    """
    settings = WORKERS[name].settings
    method = settings["method"]
    kind = method
    if settings.get("implementation") == "transformer":
        kind = "absolute"
    return {
        "method": method,
        "tokens": 1 if method == "window" else sizes["segment_length"],
        "flops": evaluation_work.evaluation_flops(sizes, kind),
        "read_bytes": evaluation_work.evaluation_bytes(sizes, kind),
    }


def case_name(sizes: Mapping) -> str:
    """What results call a case.

    Args:
        sizes: The case's sizes.
    """
    return (
        f"evaluation_{sizes['num_layers']}x{sizes['hidden_dim']}"
        f"_{sizes['length']}_{sizes['segment_length']}"
    )
