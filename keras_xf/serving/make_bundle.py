"""What the bundles of all kinds of models have in common."""

from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence

import tensorflow as tf

from keras_xf.serving.bundle import Bundle

# What signatures take, by name.
TOKENS = {
    "token_ids": tf.TensorSpec([None, None], tf.int32, "token_ids"),
    "length": tf.TensorSpec([None], tf.int32, "length"),
}
TEXT = {"text": tf.TensorSpec([None], tf.string, "text")}


def make_bundle(
    module: tf.Module,
    functions: Mapping[str, tuple[Callable, Mapping[str, tf.TensorSpec]]],
    default: str,
    requests: Sequence[Mapping],
    descriptions: Mapping[str, Mapping[str, str]],
    *,
    own_requests: Mapping[str, Sequence[Mapping]] | None = None,
    **others,
) -> Bundle:
    """Makes a bundle of functions, one of which is also `serving_default`.

    Args:
        module: Owns every variable and table that the functions read.
        functions: For each signature the function and the specs of what it
            takes, by name.
        default: The signature that is also `serving_default`.
        requests: Requests with what any of the signatures takes; each is given
            what it takes of them.
        descriptions: As in `Bundle`; may speak of other signatures too.
        own_requests: Requests of signatures that take none of the `requests`,
            by the signatures' names.
        **others: Further arguments of `Bundle`.
    """
    signatures = {
        name: tf.function(
            function,
            input_signature=list(specs.values()),
            # No tensor is branched on in Python. Converting the code for that
            # would take as long as tracing it.
            autograph=False,
        )
        for name, (function, specs) in functions.items()
    }
    inputs = {name: specs for name, (_, specs) in functions.items()}
    # The same function under a second name: traced and saved once.
    signatures["serving_default"] = signatures[default]
    inputs["serving_default"] = inputs[default]
    requests = {
        name: [{key: request[key] for key in keys} for request in requests]
        for name, keys in inputs.items()
        if name not in (own_requests or {})
    }
    sentences = descriptions["signatures"]
    return Bundle(
        module=module,
        signatures=signatures,
        requests={**requests, **(own_requests or {})},
        descriptions={
            **descriptions,
            "signatures": {
                **{name: sentences[name] for name in functions},
                "serving_default": f"The same as `{default}`.",
            },
        },
        **others,
    )
