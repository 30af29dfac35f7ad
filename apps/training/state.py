"""The state of a model in training, as arrays and JSON values by name."""

import base64
import collections
import inspect
import re

import keras
import numpy as np

from keras_xf.checks import check

# Keras numbers the names that it gives ("seed_generator_3"), counting all that
# the process has made. Without the number, names are the same in each process.
_NUMBER = re.compile(r"_\d+(?=[_/]|$)")


def named_variables(group: str, variables: list) -> dict:
    """Returns variables by a name that is the same in each process.

    Args:
        group: Beginning of the names.
        variables: Keras variables.
    """
    counts = collections.Counter()
    named = {}
    for variable in variables:
        stem = f"{group}/{_NUMBER.sub('', variable.path)}"
        counts[stem] += 1
        number = f"#{counts[stem]}" if counts[stem] > 1 else ""
        named[stem + number] = variable
    return named


def model_variables(model: keras.Model) -> dict:
    """Returns the variables of a model and of its built optimizer by name."""
    return {
        **named_variables("model", model.variables),
        **named_variables("optimizer", model.optimizer.variables),
    }


def metric_variables(model: keras.Model) -> dict:
    """Returns the sums behind a model's metrics by name.

    Keras makes those of compiled metrics in the first step.
    """
    variables = [v for metric in model.metrics for v in metric.variables]
    return named_variables("metrics", variables)


def split_metrics(arrays: dict[str, np.ndarray]) -> tuple[dict, dict]:
    """Splits a checkpoint's arrays in those of metrics and the others."""
    metrics = {n: a for n, a in arrays.items() if n.startswith("metrics/")}
    return metrics, {n: a for n, a in arrays.items() if n not in metrics}


def read_variables(variables: dict) -> dict[str, np.ndarray]:
    """Copies the values of variables.

    Of a variable that has a value of its own on each replica, the values of
    all replicas are stacked.
    """
    return {
        name: np.array(
            [value.numpy() for value in replica_values(variable)]
            if replica_values(variable)
            else keras.ops.convert_to_numpy(variable)
        )
        for name, variable in variables.items()
    }


def replica_values(variable) -> tuple:
    """Returns the values of a variable that replicas do not share.

    That are memories of streams, and the sums behind metrics: what these add up
    to over the replicas would be rounded another way when it goes on.

    Args:
        variable: A Keras variable.

    Returns:
        A variable of TensorFlow for each replica; none where one value is all
        that the variable has.
    """
    if getattr(variable, "synchronization", None) != "on_read":
        return ()
    return getattr(variable.value, "values", ())


def fits(variables: dict, arrays: dict[str, np.ndarray]) -> bool:
    """Says whether two have the same names, shapes and dtypes."""
    return _forms(variables) == _forms(arrays)


def assign_variables(
    variables: dict, arrays: dict[str, np.ndarray], source: str
) -> None:
    """Gives all variables their values, or none.

    Args:
        variables: Variables by name.
        arrays: Values by name.
        source: Where they come from, for the error message.

    Raises:
        ValueError: If the two have other names, shapes or dtypes.
    """
    expected, found = _forms(variables), _forms(arrays)
    both = expected.keys() & found.keys()
    check(
        expected == found,
        f"{source} must hold the variables of the model.",
        missing=sorted(expected.keys() - both),
        extra=sorted(found.keys() - both),
        different=[
            f"{name}: {found[name]}, not {expected[name]}"
            for name in sorted(both)
            if found[name] != expected[name]
        ],
    )
    for name, variable in variables.items():
        if replicas := replica_values(variable):
            for value, array in zip(replicas, arrays[name], strict=True):
                value.assign(array)
        else:
            variable.assign(arrays[name])


def read_callbacks(callbacks: list) -> dict[str, dict]:
    """Returns the state of callbacks as JSON values, by class.

    The state of a callback is its attributes that are numbers, strings, None,
    arrays, and lists and dicts of these, but for those that its constructor
    takes, under the same name or with `_` before it: they are options, which
    may be other ones next time.
    """
    return {
        name: {
            attribute: _to_json(value)
            for attribute, value in vars(callback).items()
            if attribute.lstrip("_") not in _options(callback)
            and _is_plain(value)
        }
        for name, callback in _named_callbacks(callbacks).items()
    }


def assign_callbacks(callbacks: list, state: dict[str, dict]) -> None:
    """Gives callbacks the state that `read_callbacks` returned.

    Callbacks that are new keep theirs, and state of others is left aside.
    """
    for name, callback in _named_callbacks(callbacks).items():
        for attribute, value in state.get(name, {}).items():
            setattr(callback, attribute, _from_json(value))


def _forms(variables):
    return {n: _form(v) for n, v in variables.items()}


def _form(variable):
    shape = tuple(variable.shape)
    if replicas := replica_values(variable):
        shape = (len(replicas), *shape)
    return f"{variable.dtype} {shape}"


def _named_callbacks(callbacks):
    counts = collections.Counter()
    named = {}
    for callback in callbacks:
        name = type(callback).__name__
        counts[name] += 1
        named[f"{name}#{counts[name]}"] = callback
    return named


def _options(callback):
    # `params` is what `fit` tells all callbacks.
    return {"params", *inspect.signature(type(callback)).parameters}


def _is_plain(value):
    if isinstance(value, list):
        return all(map(_is_plain, value))
    if isinstance(value, dict):
        return all(isinstance(k, str) and _is_plain(value[k]) for k in value)
    plain = (bool, int, float, str, np.generic, np.ndarray, type(None))
    return isinstance(value, plain)


def _to_json(value):
    if isinstance(value, list):
        return [_to_json(element) for element in value]
    if isinstance(value, dict):
        return {name: _to_json(element) for name, element in value.items()}
    if isinstance(value, np.generic | np.ndarray):
        data = base64.b64encode(value.tobytes()).decode()
        return {"array": [data, str(value.dtype), list(value.shape)]}
    return value


def _from_json(value):
    if isinstance(value, list):
        return [_from_json(element) for element in value]
    if isinstance(value, dict):
        if value.keys() == {"array"}:
            data, dtype, shape = value["array"]
            array = np.frombuffer(base64.b64decode(data), dtype)
            # An empty index makes a NumPy number of an array without axes.
            return array.reshape(shape)[()]
        return {name: _from_json(element) for name, element in value.items()}
    return value
