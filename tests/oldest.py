"""Prints pip constraints for the lowest versions that setup.cfg admits."""

import configparser
import re
from pathlib import Path


def lowest_versions(path: Path) -> list[str]:
    """Turns each `name>=version` of a setup.cfg into `name==version`."""
    setup = configparser.ConfigParser(interpolation=None)
    setup.read(path)
    extras = setup["options.extras_require"]
    groups = [setup["options"]["install_requires"]]
    # tf-models-official brings versions of its own, and is tested apart.
    groups += [extras[name] for name in extras if name != "tfm"]
    return [
        f"{name}=={version}"
        for group in groups
        for name, version in re.findall(r"^([\w-]+)>=([\d.]+)$", group, re.M)
    ]


if __name__ == "__main__":
    print(
        "\n".join(lowest_versions(Path(__file__).parent.parent / "setup.cfg"))
    )
