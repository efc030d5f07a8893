"""Which trial of a results folder is meant."""

from __future__ import annotations

import re
from pathlib import Path

from ganbench.errors import UsageError


def locate(text: str, results: Path) -> Path:
    """The folder of the trial that ``text`` names: that folder itself, or eight digits of an id below ``results``.

    Raises:
        UsageError: there is none, or several. The message says what to do.
    """
    path = Path(text).expanduser()
    if path.is_dir():
        if any(path.glob("*/*/seed-*")):
            raise UsageError(f"{text} is a results folder; name the folder of one of its trials")
        return path
    if not re.fullmatch(r"[0-9a-f]{8}", text):
        raise UsageError(
            f"there is no folder {text}; name a trial's folder, or its id of eight digits as trials.csv has it"
        )
    folders = sorted(results.glob(f"*/*/seed-*-{text}"))
    if len(folders) != 1:
        raise UsageError(f"{len(folders)} trials in {results} have the id {text}; name the trial's folder")
    return folders[0]
