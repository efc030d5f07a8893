"""Every setting of the calibration, trained by ``ganbench run``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from settings import SETTINGS, THEN, Setting


def command(setting: Setting, folder: Path, seeds: int) -> list[str]:
    """``ganbench run`` of one setting; the same command again continues."""
    metric = "recovered_mass" if setting.dataset in ("ring8", "grid25") else "fid"
    words = f"--plugins {setting.variant} --datasets {setting.dataset} --images {setting.images} --metrics {metric}"
    words += f" --seeds {','.join(map(str, setting.seeds[:seeds]))}," + (
        " --samples 2000" if setting.dataset == "fashion-mnist" else ""
    )
    options = [f"--set={setting.variant}.{option}" for option in (*THEN.get(setting.variant, ()), *setting.options)]
    results = str(place(setting, folder))
    return [sys.executable, "-m", "ganbench", "run", *words.split(), *options, "--results", results]


def place(setting: Setting, folder: Path) -> Path:
    """The results folder of one setting."""
    return folder / setting.name.replace(" ", "-")


def train(folder: Path, seeds: int) -> None:
    """Train what is not trained yet."""
    for number, setting in enumerate(SETTINGS, 1):
        print(f"[{number}/{len(SETTINGS)}] {setting.name}", flush=True)
        code = subprocess.run(command(setting, folder, seeds), stdout=subprocess.DEVNULL, check=False).returncode
        if code not in (0, 1):  # 1: some trial failed, as planted ones do
            sys.exit(f"{setting.name}: ganbench run ended with exit code {code}")
