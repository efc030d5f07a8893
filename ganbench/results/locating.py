"""Which trial of a results folder is meant."""

from __future__ import annotations

import re
from pathlib import Path

from ganbench.utils.errors import UsageError


def typed_path(text: str) -> Path:
    """The path that a user typed, ``~`` being a home folder; raises UsageError where no file can have that name."""
    try:
        path = Path(text).expanduser()
        path.is_dir()
    except (OSError, RuntimeError) as reason:  # too long, or the home folder of nobody
        raise UsageError(f"{text[:100]} cannot be read: {getattr(reason, 'strerror', None) or reason}") from None
    return path


def locate(text: str, results: Path) -> Path:
    """The folder of the trial that ``text`` names: that folder itself, or eight digits of an id below ``results``.

    Raises:
        UsageError: there is none, or several. The message says what to do.
    """
    path = typed_path(text)
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
