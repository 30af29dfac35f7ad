"""A training run to compare with others, as a JSON file says it."""

import dataclasses
import hashlib
import json
from pathlib import Path

from benchmarks.environments import find_python
from keras_xf.checks import check
from keras_xf.files import sha256


@dataclasses.dataclass(frozen=True)
class Configuration:
    """What to run, and how to tell what came of it.

    Attributes:
        name: The file's name, without `.json`.
        fingerprint: SHA-256 of the file, and of the text if it reads one.
        description: One line for the table.
        environment: Where both commands run, see `environments.find_python`.
        train: Arguments of the interpreter. `{run_dir}` stands for the folder
            that the run may write to, and finds again when it is started
            again, and `{text}` for one with the parts of a text, see
            `text_parts`. Exit code 0 says that training is over, 75 that it
            was stopped and goes on when started again.
        evaluate: Likewise; prints one JSON object.
        text: The folder that `{text}` stands for, None if it does not occur.
    """

    name: str
    fingerprint: str
    description: str
    environment: str
    train: tuple[str, ...]
    evaluate: tuple[str, ...]
    text: Path | None = None

    def command(self, arguments: tuple[str, ...], run_dir: Path) -> list[str]:
        """The whole command of `train` or `evaluate`."""
        values = {"{run_dir}": run_dir, "{text}": self.text}
        for name, value in values.items():
            arguments = [part.replace(name, str(value)) for part in arguments]
        return [str(find_python(self.environment)), *arguments]


def read_configuration(
    path: str | Path, text: Path | None = None
) -> Configuration:
    """Reads a configuration.

    Args:
        path: The JSON file.
        text: What `{text}` stands for.

    Raises:
        ValueError: If it is not a configuration, or needs a text that is not
            there.
    """
    path = Path(path)
    check(path.is_file(), "`path` must be a file.", path=str(path))
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        check(False, "`path` must be JSON.", path=str(path), error=str(error))
    names = {"description", "environment", "train", "evaluate"}
    check(
        isinstance(content, dict) and content.keys() == names,
        f"`path` must hold exactly {', '.join(sorted(names))}.",
        path=str(path),
        content=content,
    )
    needs_text = any(
        "{text}" in part for part in (*content["train"], *content["evaluate"])
    )
    check(
        not needs_text or text is not None,
        "`text` must be given: a configuration needs it.",
        configuration=path.stem,
        text=text,
    )
    fingerprint = sha256(path)
    if needs_text:
        # The folder is named after its content.
        both = f"{fingerprint} {text.name}"
        fingerprint = hashlib.sha256(both.encode()).hexdigest()
    return Configuration(
        name=path.stem,
        fingerprint=fingerprint,
        description=content["description"],
        environment=content["environment"],
        train=tuple(content["train"]),
        evaluate=tuple(content["evaluate"]),
        text=text.resolve() if needs_text else None,
    )
