"""Lists of class names."""

from __future__ import annotations

from pathlib import Path

import yaml


def read_names(file: Path, first: int) -> dict[int, str]:
    """Class names by index: from a text file, one a line, or the field `names` of a YAML file.

    Args:
        file: `.yaml` or `.yml`, with `names` as a list or as a mapping from index to name; else
            text.
        first: index of the first name of a list.

    Raises:
        FileNotFoundError: no such file.
        ValueError: there are no names in it, or one twice.
    """
    if not Path(file).is_file():
        raise FileNotFoundError(f"{file}: no such file; give a file of class names")
    text = Path(file).read_text(encoding="utf-8-sig")
    if Path(file).suffix.lower() in (".yaml", ".yml"):
        try:
            content = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise ValueError(f"{file} is not valid YAML: {error}") from error
        found = content.get("names") if isinstance(content, dict) else None
    else:
        found = [line.strip() for line in text.splitlines() if line.strip()]
    if isinstance(found, list):
        found = dict(enumerate(found, first))
    if not isinstance(found, dict) or not found:
        raise ValueError(f"{file}: no class names; give one a line, or a YAML file with `names`")
    try:
        names = {int(index): str(name) for index, name in found.items()}
    except (TypeError, ValueError):
        raise ValueError(f"{file}: `names` maps something else than numbers to names") from None
    if len(set(names.values())) < len(names):
        raise ValueError(f"{file}: a class name is there twice; give each its own")
    return names
