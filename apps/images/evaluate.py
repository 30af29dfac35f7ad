r"""Measures an autoencoder, or a prior with its autoencoder, on images.

Usage:

    python -m apps.images.evaluate --run_dir=runs/digits_prior

Prints one JSON object on stdout, and nothing else there:

- `images`, how many; `mse` of the reconstruction, of which white is 1;
  `relative_mse`, that divided by `variance`, of the pixels to learn from;
- `codes`, by name: `perplexity`, `active_codes` and `dead_fraction` over these
  images, `num_codes`, `per_image`, and with a prior `bits_per_code`;
- `uniform_bits_per_code`, what codes cost without a prior, with one
  `prior_bits_per_code`;
- `reconstruction_bits_per_dim`, what the decoder leaves open: of a logistic
  distribution around what it says, its mass shared out among the 256 levels,
  whose width is one of `scales`, from black to white, fitted to the images to
  learn from, and with a thousandth of it spread evenly over all levels;
- `uniform_bits_per_dim` and, with a prior, `bits_per_dim`: codes and what they
  leave open together, over all pixels and channels. An image can be written in
  so many bits, and read again: it is an upper bound of `-log2 p(image)`;
- `pixel_entropy_bits_per_dim`, to compare these with: what pixels cost without
  any model, by how often the images to learn from have each level. Images of
  few levels, such as the digits with their 17, can cost less so.

The bits of a prior that knows classes are of `-log2 p(image | class)`: what it
takes to tell the class is not in them.
"""

import dataclasses
import json
import math
from pathlib import Path

import numpy as np

from apps.images.autoencoder import Autoencoder
from apps.images.autoencoder import load_autoencoder
from apps.images.code_use import code_use
from apps.images.likelihood import NUM_RANGES
from apps.images.likelihood import fit_scales
from apps.images.likelihood import histogram_bits
from apps.images.likelihood import mean_nats
from apps.images.picture_options import PictureOptions
from apps.images.prior import BUILDERS
from apps.images.prior import load_prior
from apps.images.train import pixel_variance
from apps.images.train_prior import AUTOENCODER
from apps.training import NonFiniteError
from apps.training import RunDirectory
from keras_xf.checks import check
from keras_xf.data.labeled_images import LabeledImages
from keras_xf.launch import launch
from keras_xf.launch import option

# Some widths need no more images.
_FITTED_IMAGES = 300


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(PictureOptions):
    """Options of the evaluation."""

    run_dir: str = option("Run directory of an autoencoder or of a prior.")


def evaluate(options: Options) -> dict:
    """Measures codes and reconstructions.

    Args:
        options: The options.

    Returns:
        What is printed.

    Raises:
        ValueError: If the run directory or a file is missing or wrong.
        NonFiniteError: If a figure is infinite or no number.
    """
    run = RunDirectory(options.run_dir)
    run.check_trained("autoencoder or prior")
    prior, folder = None, options.run_dir
    if run.read_model_json()["builder"] in BUILDERS:
        prior = load_prior(options.run_dir, "run_dir", options.batch_size)
        autoencoder, folder = prior.autoencoder, Path(folder) / AUTOENCODER
    else:
        autoencoder = load_autoencoder(
            options.run_dir, "run_dir", options.batch_size
        )
    of_autoencoder = dataclasses.replace(options, run_dir=str(folder))
    images, known = of_autoencoder.read_with_known()
    codes = autoencoder.encode(images.images)
    result = _measure_images(autoencoder, images.images, codes, known.images)
    _check_finite(result, run)
    numbers = {name: x[0].size for name, x in codes.items()}
    uses = code_use(codes, autoencoder.num_codes)
    result["codes"] = {
        name: {
            **uses[name],
            "num_codes": autoencoder.num_codes[name],
            "per_image": numbers[name],
        }
        for name in codes
    }
    bits = {name: math.log2(autoencoder.num_codes[name]) for name in codes}
    _add_bits(result, "uniform_", numbers, bits, images.images[0].size)
    if prior is not None:
        nats = prior.nats(codes, _class_ids(prior, images))
        bits = {name: float(x.mean()) / math.log(2) for name, x in nats.items()}
        for name in codes:
            result["codes"][name]["bits_per_code"] = bits[name]
        _add_bits(result, "prior_", numbers, bits, images.images[0].size)
        result["bits_per_dim"] = result.pop("prior_bits_per_dim")
        _check_finite({"bits_per_dim": result["bits_per_dim"]}, run)
    return result


def _measure_images(autoencoder: Autoencoder, images, codes, known):
    decoded = autoencoder.decode(codes)
    variance = pixel_variance(known)
    mse = float(np.mean((decoded - images / np.float32(255)) ** 2))
    number = min(_FITTED_IMAGES, len(known))
    fitted = known[np.arange(number) * len(known) // number]
    scales, nats = np.full(NUM_RANGES, math.nan), math.nan
    # There is nothing to fit to what is no number.
    if math.isfinite(mse):
        fitted_decoded = autoencoder.decode(autoencoder.encode(fitted))
        scales = fit_scales(fitted, fitted_decoded)
        nats = mean_nats(images, decoded, scales)
    return {
        "images": len(images),
        "mse": mse,
        "relative_mse": mse / variance if variance else 0.0,
        "variance": variance,
        "scales": scales.tolist(),
        "reconstruction_bits_per_dim": nats / math.log(2),
        "pixel_entropy_bits_per_dim": histogram_bits(images, known),
    }


def _check_finite(figures, run):
    for name, value in figures.items():
        if not np.isfinite(value).all():
            raise NonFiniteError(
                f"The {name} of the model in {run.path} is not finite."
            )


def _add_bits(result, prefix, numbers, bits, dims):
    total = sum(numbers[name] * bits[name] for name in numbers)
    result[f"{prefix}bits_per_code"] = total / sum(numbers.values())
    result[f"{prefix}bits_per_dim"] = (
        result["reconstruction_bits_per_dim"] + total / dims
    )


def _class_ids(prior, images: LabeledImages):
    if not prior.classes:
        return None
    unknown = sorted(set(images.labels or ()) - set(prior.classes))
    check(
        images.labels is not None and not unknown,
        "`images` must have labels that the prior knows.",
        unknown=unknown,
        known=prior.classes,
    )
    return images.class_ids(prior.classes)


def main(options: Options) -> None:
    """Prints the figures as JSON."""
    print(json.dumps(evaluate(options)))


if __name__ == "__main__":
    launch(Options, main)
