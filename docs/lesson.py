"""Run the commands of docs/lesson.md in order, and copy the films that they write into docs/films/.

python docs/lesson.py FOLDER

FOLDER keeps what they train, so that a second call, or one after a Ctrl-C, trains only what is missing.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

DOCS = Path(__file__).parent


def commands() -> list[str]:
    """The commands of the lesson, without the remarks beside them."""
    lines = re.findall(r"^ {4}(ganbench (?:run|film) .*)", (DOCS / "lesson.md").read_text(), re.MULTILINE)
    return [re.sub(r" {3,}\S.*", "", line) for line in lines]


def main() -> None:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for command in commands():
        print(f"$ {command}", flush=True)
        done = subprocess.run(["bash", "-c", command], cwd=folder)
        if done.returncode not in (0, 1):  # 1: a trial diverged, which some are made to do
            sys.exit(done.returncode)
    (DOCS / "films").mkdir(exist_ok=True)
    for film in folder.glob("*.webp"):
        shutil.copy(film, DOCS / "films")


if __name__ == "__main__":
    main()
