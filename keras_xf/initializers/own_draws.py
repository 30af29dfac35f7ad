"""Draws of its own for each matrix that one initializer makes."""


def own_draws(initializer, place: int):
    """Returns an initializer for one of a layer's matrices.

    A seeded initializer of Keras, and its clone, give the same numbers at each
    call: two matrices made by it would begin alike.

    Args:
        initializer: A `keras.initializers.Initializer`, or a function of shape
            and dtype, which is returned as it is.
        place: The matrix's place in the layer. The first, 0, gets the draws
            that the seed promises.
    """
    config = getattr(initializer, "get_config", dict)()
    if "seed" not in config or isinstance(config["seed"], dict):
        # Nothing random, or a seed generator, which moves on by itself.
        return initializer
    if config["seed"] is None:
        return initializer.clone()
    # Steps of a large odd number: seeds next to each other are in use.
    seed = (config["seed"] + place * 0x9E3779B1) % 2**31
    return type(initializer).from_config({**config, "seed": seed})
