"""Small autoencoders and priors to serve."""

from keras_xf import models

PRIORS = {
    "build_code_transformer": {
        "num_layers": 1,
        "hidden_dim": 8,
        "num_heads": 2,
        "intermediate_dim": 16,
    },
    "build_pixel_cnn": {"num_layers": 2, "hidden_dim": 8, "output_dim": 8},
}


def autoencoder_description(**arguments):
    return {
        "builder": "build_vq_vae",
        "arguments": {
            "image_shape": [10, 9, 3],
            "hidden_dim": 8,
            "residual_dim": 4,
            "num_codes": 8,
            "code_dim": 4,
            "seed": 1,
            **arguments,
        },
    }


def prior_description(builder, autoencoder, **arguments):
    return {
        "builder": builder,
        "arguments": {
            "code_shapes": models.code_shapes(autoencoder),
            "num_codes": models.num_codes(autoencoder),
            "seed": 1,
            **PRIORS[builder],
            **arguments,
        },
    }


def nodes_of(function):
    """All nodes of a concrete function and of those that it calls."""
    definition = function.graph.as_graph_def()
    nodes = list(definition.node)
    for inner in definition.library.function:
        nodes += inner.node_def
    return nodes
