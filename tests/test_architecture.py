"""The rooms of the project, and who may import whom."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# A room imports only rooms of a lower rank.
RANKS = {
    "keras_xf.checks": 0,
    "keras_xf.files": 0,
    "keras_xf.launch": 0,
    "keras_xf.version": 0,
    "keras_xf.ops": 1,
    "keras_xf.protocol": 1,
    "keras_xf.text": 1,
    "keras_xf.constraints": 2,
    "keras_xf.contract": 2,
    "keras_xf.initializers": 2,
    "keras_xf.losses": 2,
    "keras_xf.metrics": 2,
    "keras_xf.optimizers": 2,
    "keras_xf.callbacks": 2,
    "keras_xf.decoding": 2,
    "keras_xf.data": 2,
    "keras_xf.layers": 3,
    "keras_xf.local_server": 3,
    "keras_xf.models": 4,
    "keras_xf.convert": 5,
    "keras_xf.serving": 5,
    "keras_xf": 6,
    "apps": 7,
    "export": 7,
    "benchmarks": 7,
}
# Programs, and the rooms whose work is TensorFlow's: graphs of strings, input
# pipelines, loops, logs, SavedModels. Layers and ops are written on keras.ops.
MAY_IMPORT_TENSORFLOW = {
    "keras_xf.text",
    "keras_xf.callbacks",
    "keras_xf.contract",
    "keras_xf.data",
    "keras_xf.decoding",
    "keras_xf.local_server",
    "keras_xf.protocol",
    "keras_xf.serving",
    "apps",
    "export",
    "benchmarks",
}
# Files of other rooms, and what they need that `keras.ops` has not.
FILES_ON_TENSORFLOW = {
    "keras_xf.layers.places": "an assertion",
    "keras_xf.models.code_sampler": "a function around loops",
    "keras_xf.models.code_transformer_draws": "a loop that writes",
    "keras_xf.models.pixel_cnn_draws": "loops that write",
    "keras_xf.models.scored_model": "strategies",
    "keras_xf.models.stream_model": "strategies, an assertion",
    "keras_xf.ops.attention_blocks": "what blockwise attention is made of",
    "keras_xf.ops.block_masks": "what blockwise attention is made of",
    "keras_xf.ops.block_passes": "what blockwise attention is made of",
    "keras_xf.ops.blockwise_attention": "custom gradients, loops of blocks",
    "keras_xf.ops.chosen_cross_entropy": "a custom gradient of its own loops",
    "keras_xf.ops.chosen_rows": "a loop of as many rounds as it takes",
    "keras_xf.ops.chunk_lot": "slices of open shapes",
    "keras_xf.ops.chunk_lots": "a loop that runs several lots at once",
    "keras_xf.ops.chunk_rows": "slices of open shapes, sums by scattering",
    "keras_xf.ops.chunks": "custom gradients, loops of rounds",
    "keras_xf.ops.chunk_step": "gathers with batch axes",
    "keras_xf.ops.empty_batches": "a padding that is known late",
    "keras_xf.ops.k_means": "gathers with batch axes",
    "keras_xf.ops.lsh_bias": "gathers with batch axes",
    "keras_xf.ops.lsh_hashing": "a loop of lots",
    "keras_xf.ops.lsh_step": "gathers with batch axes",
    "keras_xf.ops.only_first": "a custom gradient",
    "keras_xf.ops.permutations": "a scatter of integers",
    "keras_xf.ops.rematerialized_chunks": "a tape inside a custom gradient",
    "keras_xf.ops.replicas": "strategies",
    "keras_xf.ops.reversible": "a tape inside a custom gradient",
    "keras_xf.ops.shared_function": "functions inside of graphs",
    "keras_xf.ops.stateless_random": "draws that are a function of a seed",
    "keras_xf.ops.target_platform": "TensorFlow's devices",
    "keras_xf.ops.tensor_array": "lists that loops fill",
}
# Extras, and where each may be imported.
MAY_IMPORT_EXTRA = {
    "grpc": {"keras_xf.local_server"},
    "matplotlib": {"apps", "benchmarks"},
    "num2words": {"apps"},
    "official": {"benchmarks"},
    "sacrebleu": {"apps"},
    "sentencepiece": {"keras_xf.text"},
    "sklearn": {"keras_xf.data"},
    "tensorflow_serving": {"keras_xf.local_server"},
    "tensorflow_text": {"keras_xf.text"},
    "tf_keras": {"benchmarks"},
}

FILES = [
    path
    for folder in ("keras_xf", "apps", "export", "benchmarks")
    for path in sorted((ROOT / folder).rglob("*.py"))
]


def imported_modules(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)


def room_of(module):
    parts = module.split(".")
    for name in (".".join(parts[:2]), parts[0]):
        if name in RANKS:
            return name
    return None


def module_of(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_file_has_a_room(path):
    module = module_of(path)
    room = room_of(module)
    assert room is not None
    # A new folder or file of the library must not hide in its root.
    assert room != "keras_xf" or module == "keras_xf"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_downwards(path):
    room = room_of(module_of(path))
    for module in imported_modules(path):
        other = room_of(module)
        if other is None or other == room:
            continue
        assert RANKS[other] < RANKS[room], f"{room} imports {other}"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_are_public_and_in_their_place(path):
    room = room_of(module_of(path))
    may_import_tensorflow = (
        room in MAY_IMPORT_TENSORFLOW or module_of(path) in FILES_ON_TENSORFLOW
    )
    for module in imported_modules(path):
        assert not module.startswith(
            (".", "keras.src", "tensorflow.python", "tests", "tutorials")
        )
        top = module.split(".")[0]
        if top == "tensorflow":
            assert may_import_tensorflow, module
        if top in MAY_IMPORT_EXTRA:
            assert room in MAY_IMPORT_EXTRA[top], module
