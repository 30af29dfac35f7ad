"""What TF Serving asks of a SavedModel, checked without running it.

The rules, most of which a model breaks only once it is behind the server:

- one MetaGraph, with the tag "serve", and a `serving_default`;
- tensors that the JSON interface can write: dense, and of few dtypes;
- a batch axis that is first and open, without which requests cannot be joined;
- no functions that only Python can run;
- nothing that XLA must compile: the server switches XLA off;
- no variables written, since all clients share them;
- for some bundles, no operations but TensorFlow's own: a single other one
  keeps the whole SavedModel from loading where its library is missing.
"""

from collections.abc import Iterable
from pathlib import Path

import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from keras_xf.checks import check

DTYPES = ("float32", "int32", "string")

_PYTHON_OPS = {"EagerPyFunc", "PyFunc", "PyFuncStateless"}
# How the names of operations that write variables begin.
_WRITING_OPS = (
    "Assign",
    "ResourceApply",
    "ResourceScatter",
    "ResourceSparseApply",
    "ResourceStridedSliceAssign",
    "RngReadAndSkip",
    "RngSkip",
)
# What the loader runs once, a signature in name only.
_INIT_SIGNATURE = "__saved_model_init_op"


def signature_table(saved_model_dir: str | Path) -> dict:
    """Reads the names, dtypes and shapes of a SavedModel's signatures.

    Args:
        saved_model_dir: The directory of `saved_model.pb`.

    Returns:
        `{signature: {"inputs": {name: {"dtype": …, "shape": …}}, "outputs":
        …}}`, where a shape is a list with None at open axes, or None if not
        even the rank is known. Tensors that are not dense have None for both.

    Raises:
        ValueError: If there is no SavedModel with the tag "serve".
    """
    return _signature_table(_meta_graph(saved_model_dir))


def contract_violations(
    saved_model_dir: str | Path,
    *,
    signatures: Iterable[str] = ("serving_default",),
    core_ops_only: bool = False,
) -> list[str]:
    """Lists how a SavedModel breaks the rules above.

    Args:
        saved_model_dir: The directory of `saved_model.pb`.
        signatures: Names of signatures that there must be.
        core_ops_only: Whether operations must be TensorFlow's own.

    Returns:
        One sentence for each violation.

    Raises:
        ValueError: If there is no SavedModel with the tag "serve".
    """
    meta_graph = _meta_graph(saved_model_dir)
    table = _signature_table(meta_graph)
    violations = [
        f"There is no signature `{name}`."
        for name in signatures
        if name not in table
    ]
    for name, signature in table.items():
        for kind, tensors in signature.items():
            for key, tensor in tensors.items():
                where = f"`{name}`: {kind[:-1]} `{key}`"
                violations += _tensor_violations(where, **tensor)
        violations += [
            f"`{name}`: {op} writes a variable."
            for op in sorted(_reachable_ops(meta_graph, name))
            if op.startswith(_WRITING_OPS)
        ]
    return violations + _graph_violations(meta_graph, core_ops_only)


def _meta_graph(saved_model_dir):
    path = Path(saved_model_dir) / "saved_model.pb"
    check(
        path.is_file(),
        "`saved_model_dir` must hold a file saved_model.pb.",
        saved_model_dir=str(saved_model_dir),
    )
    saved_model = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    by_tags = {
        tuple(meta_graph.meta_info_def.tags): meta_graph
        for meta_graph in saved_model.meta_graphs
    }
    check(
        ("serve",) in by_tags,
        "`saved_model_dir` must hold a MetaGraph with the tag 'serve'.",
        saved_model_dir=str(saved_model_dir),
        tags=sorted(by_tags),
    )
    return by_tags["serve",]


def _signature_table(meta_graph):
    return {
        name: {
            "inputs": _tensors(signature.inputs),
            "outputs": _tensors(signature.outputs),
        }
        for name, signature in sorted(meta_graph.signature_def.items())
        if name != _INIT_SIGNATURE
    }


def _tensors(infos):
    return {key: _tensor(info) for key, info in sorted(infos.items())}


def _tensor(info):
    # Sparse and ragged tensors are spelled by other means than a name.
    if info.WhichOneof("encoding") != "name":
        return {"dtype": None, "shape": None}
    shape = tf.TensorShape(info.tensor_shape)
    return {
        "dtype": tf.dtypes.as_dtype(info.dtype).name,
        "shape": None if shape.rank is None else shape.as_list(),
    }


def _tensor_violations(where, dtype, shape):
    if dtype is None:
        return [f"{where} is not dense."]
    violations = []
    if dtype not in DTYPES:
        violations.append(
            f"{where} has the dtype {dtype}, not one of {', '.join(DTYPES)}."
        )
    if shape is None:
        violations.append(f"{where} has no known rank.")
    elif not shape or shape[0] is not None:
        violations.append(
            f"{where} has the shape {shape}, without an open first axis."
        )
    return violations


def _graph_violations(meta_graph, core_ops_only):
    graph = meta_graph.graph_def
    functions = graph.library.function
    nodes = list(graph.node)
    for function in functions:
        nodes += function.node_def
    ops = {node.op for node in nodes}
    violations = [
        f"{op} runs in this Python process alone."
        for op in sorted(ops & _PYTHON_OPS)
    ]
    if any(
        item.attr["_XlaMustCompile"].b
        for item in [*nodes, *functions]
        if "_XlaMustCompile" in item.attr
    ):
        violations.append("A function must be compiled by XLA.")
    if core_ops_only:
        names = {function.signature.name for function in functions}
        violations += [
            f"{op} is not an operation of TensorFlow itself."
            for op in sorted(ops - names)
            if not op.startswith("_") and not hasattr(tf.raw_ops, op)
        ]
    return violations


def _reachable_ops(meta_graph, signature):
    """Names of the operations that running a signature may run."""
    graph = meta_graph.graph_def
    nodes = {node.name: node for node in graph.node}
    functions = {f.signature.name: f for f in graph.library.function}
    outputs = meta_graph.signature_def[signature].outputs.values()
    # Nodes of the graph by name, function bodies as a whole.
    waiting = [("node", _node_name(info.name)) for info in outputs]
    seen, ops = set(waiting), set()
    while waiting:
        kind, name = waiting.pop()
        if kind == "node":
            body = [nodes[name]] if name in nodes else []
        else:
            body = functions[name].node_def
        found = []
        for node in body:
            ops.add(node.op)
            called = {node.op, *_called_functions(node)} & functions.keys()
            found += [("function", function) for function in called]
            if kind == "node":
                found += [("node", _node_name(i)) for i in node.input]
        waiting += set(found) - seen
        seen.update(found)
    return ops


def _node_name(tensor_name):
    return tensor_name.removeprefix("^").split(":")[0]


def _called_functions(node):
    for value in node.attr.values():
        yield value.func.name
        yield from (function.name for function in value.list.func)
