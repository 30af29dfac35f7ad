r"""Completes prompts with a served text directory.

Usage:

    python -m export.complete \
        --saved_model=served/stdlib/text/1 --prompt="def " --prompt="import "

or, copied to a machine that has TensorFlow and nothing else of this project,

    python complete.py --saved_model=1 --prompt="def "

Prints the most probable completion of each prompt, then sampled ones.
`--without=keras_xf` proves that the served directory is all it takes: importing
that package then raises.
"""

import argparse
import os
import re
import sys
import zlib
from collections.abc import Sequence
from pathlib import Path


class Forbidden:
    """Finder that refuses to import a package.

    Args:
        package: Name of the package.
    """

    def __init__(self, package: str):
        self.package = package

    def find_spec(self, fullname, path=None, target=None):
        if fullname.split(".")[0] == self.package:
            raise ImportError(f"{fullname} is forbidden here")


def complete(
    saved_model: str,
    prompts: Sequence[str],
    *,
    samples: int = 1,
    temperature: float = 1.0,
    top_p: float = 1.0,
    seed: int = 0,
) -> list[dict]:
    """Completes prompts greedily and by sampling.

    Args:
        saved_model: Folder of a version of a text bundle, or that of all its
            versions, of which the newest is taken.
        prompts: The prompts.
        samples: Sampled completions for each prompt.
        temperature: Divides the logits before sampling.
        top_p: Share of the probability that sampling draws from.
        seed: Seed of the samples.

    Returns:
        For each prompt a dict of `prompt`, a string, and `completions`, pairs
        of how it was made and the string.

    Raises:
        OSError: If there is no SavedModel.
        ValueError: If it is none of a text bundle.
        tf.errors.InvalidArgumentError: If an option is out of range or a
            prompt too long.
    """
    # Imported here, after what is forbidden is known.
    import tensorflow as tf

    # The variable keeps the model alive, of which signatures hold no part.
    model = tf.saved_model.load(_newest_version(saved_model))
    if "generate_text" not in model.signatures:
        raise ValueError(
            "`saved_model` must be a version of a text bundle. Received: "
            f"saved_model={saved_model!r} with the signatures "
            f"{sorted(model.signatures)}."
        )
    generate = model.signatures["generate_text"]
    sample = model.signatures["sample_text"]
    text = tf.constant([prompt.encode() for prompt in prompts], tf.string)

    columns = {"greedy": generate(text=text)}
    for number in range(1, samples + 1):
        columns[f"sample {number}"] = sample(
            text=text,
            # The same prompt gets the same samples in any company.
            seed=tf.constant(
                [
                    [seed, zlib.crc32(p.encode()) % 2**31 ^ number]
                    for p in prompts
                ],
                tf.int32,
            ),
            temperature=tf.fill([len(prompts)], temperature),
            top_p=tf.fill([len(prompts)], top_p),
        )
    return [
        {
            "prompt": prompt,
            "completions": [
                (name, results["text"][row, 0].numpy().decode())
                for name, results in columns.items()
            ],
        }
        for row, prompt in enumerate(prompts)
    ]


def _newest_version(saved_model):
    folder = Path(saved_model)
    versions = [p for p in folder.glob("[0-9]*") if p.name.isdecimal()]
    return str(max(versions, key=lambda p: int(p.name), default=folder))


def show(completed: Sequence[dict]) -> str:
    """Lays completions out so that prompt and completion stay apart."""
    blocks = []
    for item in completed:
        parts = [("prompt", item["prompt"]), *item["completions"]]
        width = max(len(name) for name, _ in parts)
        lines = []
        for name, text in parts:
            for line in _visible(text).split("\n"):
                lines.append(f"{name:>{width}} │ {line}".rstrip())
                # The name stands beside the first line alone.
                name = ""
            lines.append("")
        blocks.append("\n".join(lines))
    return "\n".join(blocks)


def _visible(text):
    # What a model writes must not move the cursor or ring the bell.
    return "".join(
        c if c == "\n" or c.isprintable() else "·" for c in text.expandtabs()
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints completions of the prompts on the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n")[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--saved_model", required=True, help="text bundle, or one version")
    add("--prompt", action="append", required=True, help="may be repeated")
    add("--samples", type=int, default=1, help="per prompt")
    add("--temperature", type=float, default=1.0, help="of the samples")
    add("--top_p", type=float, default=1.0, help="of the samples")
    add("--seed", type=int, default=0, help="of the samples")
    add("--without", help="package whose import is to raise")
    options = vars(parser.parse_args(arguments))

    without = options.pop("without")
    if without:
        sys.meta_path.insert(0, Forbidden(without))
    # Lines of TensorFlow's start would bury the completions.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import tensorflow as tf

    prompts = options.pop("prompt")
    try:
        completed = complete(options.pop("saved_model"), prompts, **options)
    except (OSError, ValueError) as error:
        sys.exit(f"Error: {error}")
    except tf.errors.InvalidArgumentError as error:
        # What the model says of the request stands between lines of the graph.
        said = re.search("assertion failed: (.*)", error.message)
        sys.exit(f"Error: {said[1] if said else error.message}")
    print(show(completed))


if __name__ == "__main__":
    main()
