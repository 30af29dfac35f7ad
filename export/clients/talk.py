r"""Talks with a served Transformer-XL, whose memory this side keeps.

Usage:

    python -m export.serve_local served/xl
    python -m export.clients.talk \
        --model=http://localhost:8501/v1/models/tokens \
        --tokenizer=served/xl/tokens/1/assets/text --prompt="Once "

or, without a server,

    python -m export.clients.talk --model=served/xl/tokens --prompt="Once "

Reads each prompt, after all that was said before, and prints how the model goes
on. Without prompts it reads lines from its input. With a server and tokens that
are bytes it needs NumPy alone; other tokens need keras_xf, and a SavedModel
needs TensorFlow.
"""

import argparse
import os
import sys
from collections.abc import Iterable
from collections.abc import Sequence
from pathlib import Path

from export.clients.conversation import Conversation
from export.clients.local_model import LocalModel
from export.clients.rest_model import RestModel
from export.clients.text import ByteText
from export.clients.text import load_text


def open_conversation(model: str, tokenizer: str | None = None) -> Conversation:
    """Begins a conversation.

    Args:
        model: The address of a model at a server, or the folder of a tokens
            bundle or of a version of it.
        tokenizer: A folder with a `tokenizer.json`. By default that of the
            bundle; of a server, bytes.

    Raises:
        OSError: If there is no server or no file.
        RuntimeError: If the server answers with an error.
        ValueError: If the model takes no memory, or has other tokens.
    """
    if model.startswith(("http://", "https://")):
        served = RestModel(model)
    else:
        served = LocalModel(model)
        tokenizer = tokenizer or str(Path(served.folder, "assets", "text"))
    text = load_text(tokenizer) if tokenizer else ByteText()
    return Conversation(served, text)


def talk(
    conversation: Conversation,
    prompts: Iterable[str],
    *,
    max_new_tokens: int,
    temperature: float = 0.0,
    seed: int = 0,
) -> Iterable[str]:
    """Reads prompts, and yields how the model goes on after each.

    Args:
        conversation: The conversation.
        prompts: The prompts.
        max_new_tokens: Most tokens to write after each.
        temperature: Divides the log-probabilities; 0 takes the most probable
            tokens.
        seed: Seed of what is drawn.
    """
    for number, prompt in enumerate(prompts):
        conversation.read(prompt)
        yield conversation.write(
            max_new_tokens, temperature=temperature, seed=seed + number
        )


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints how the model goes on after what it is told."""
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n")[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--model", required=True, help="address at a server, or a folder")
    add("--tokenizer", help="folder of tokenizer.json")
    add(
        "--prompt", action="append", help="may be repeated; else lines of stdin"
    )
    add("--max_new_tokens", type=int, default=100, help="after each prompt")
    add("--temperature", type=float, default=0.0, help="0: most probable")
    add("--seed", type=int, default=0, help="of what is drawn")
    options = vars(parser.parse_args(arguments))
    # Lines of TensorFlow's start would bury the answers.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

    prompts = options.pop("prompt") or sys.stdin
    model, tokenizer = options.pop("model"), options.pop("tokenizer")
    try:
        conversation = open_conversation(model, tokenizer)
        for answer in talk(conversation, prompts, **options):
            print(_visible(answer), flush=True)
    except (OSError, RuntimeError, ValueError) as error:
        sys.exit(f"Error: {error}")


def _visible(text):
    # What a model writes must not move the cursor or ring the bell.
    return "".join(
        c if c == "\n" or c.isprintable() else "·" for c in text.expandtabs()
    )


if __name__ == "__main__":
    main()
