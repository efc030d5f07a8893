"""``ganbench show`` of a trial that a stranger sent, and ``ganbench sample`` of its state."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ganbench.cli.compare import command as compare
from ganbench.cli.sample import command as sample
from ganbench.cli.show import command as show
from ganbench.utils.errors import UsageError
from ganbench.utils.sealed_json import seal

TEXT = "\x1b[2J<script>\u202e=1+1" + "a" * 5000
FILES = ["record.json", "cost.json", "log.txt", "progress.jsonl"]
CONTENT: dict[str, bytes] = {
    "empty": b"",
    "zeros": bytes(100_000),
    "deep": b"[" * 100_000,
    "digits": b'{"images":' + b"9" * 5000 + b"}",
    "not a number": b'{"images":NaN}\n{"evaluation":{"images_seen":Infinity}}',
    "wrong types": b'{"images":"9"}\n{"evaluation":7}\n{"attempt":[]}\n{"evaluation":{"images_seen":1,"values":[]}}',
    "odd names": json.dumps({"evaluation": {"images_seen": 1, "step": 1, "values": {TEXT: 1.0}}}).encode(),
    "escapes": TEXT.encode() * 20,
    "latin": b"\xff\xfe\x1b[2J\n" * 1000,
}
THINGS: dict[str, Callable[[Path], Any]] = {
    "a link": lambda path: path.symlink_to("../../../../../outside/precious"),
    "a link to itself": lambda path: path.symlink_to(path.name),
    "a pipe": lambda path: os.mkfifo(path),
    "a folder": lambda path: path.mkdir(),
    "64 GB": lambda path: os.close(os.open(path, os.O_CREAT)) or os.truncate(path, 1 << 36),
}


@pytest.fixture
def trial(genuine: dict[str, Any], resealed: Any, put: Any) -> Path:
    """A trial that failed, so that the end of its log is shown."""
    return put(resealed({**genuine, "status": "error", "reason": "it raised"}))


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("name", [*CONTENT, *THINGS])
def test_files_of_a_trial(name: str, file: str, trial: Path, told: Any) -> None:
    if file == "progress.jsonl":  # of one that was interrupted
        (trial / "record.json").unlink()
        (trial / "checkpoint.safetensors").touch()
    (trial / file).unlink(missing_ok=True)
    if name in THINGS:
        THINGS[name](trial / file)
    else:
        (trial / file).write_bytes(CONTENT[name])
    code, text = told(show, str(trial))
    assert code == (3 if file == "record.json" else 1) or (file == "record.json" and name.startswith("a link")), text
    assert len(text) < 30_000 and "precious" not in text


@pytest.mark.parametrize(
    "place", ["label", "reason", "environment", "identity/trial/hyperparameters", "metrics", "evaluations", "telemetry"]
)
def test_texts_and_numbers_of_a_record(place: str, genuine: dict[str, Any], resealed: Any, put: Any, told: Any) -> None:
    for value in (TEXT, 10**300, 1e308, {TEXT: TEXT}, {"x": {TEXT: [1e308] * 9}}, [], {}, None):
        record = copy.deepcopy(genuine)
        *way, last = place.split("/")
        owner = record
        for part in way:
            owner = owner[part]
        owner[last] = value
        folder = put(resealed(record), "digits/dcgan/seed-0-00000000")
        code, text = told(show, str(folder))
        assert code in (0, 3) and len(text) < 50_000, text[:500]


@pytest.mark.parametrize("name", ["a" * 5000, "~nobody-has-this-name/x", "a\0b", "results/../../x"])
def test_names_that_no_trial_has(name: str, told: Any, inside: Path) -> None:
    for code, text in (told(show, name), told(compare, name, "reference")):
        assert code == 2 and len(text) < 6000, text


@pytest.fixture(scope="module")
def warm(genuine: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> None:
    """What drawing samples imports, torch among it, is there before the clock starts and anybody watches."""
    folder = tmp_path_factory.mktemp("warm")
    (folder / "record.json").write_text(seal(genuine))
    (folder / "state.safetensors").touch()
    with pytest.raises(UsageError):
        sample.main([str(folder), "--out", str(folder / "x.png"), "--executor", "inline"], standalone_mode=False)


@pytest.mark.parametrize("name", [*CONTENT, *THINGS, "nothing"])
@pytest.mark.usefixtures("warm")
def test_a_state_that_is_none(name: str, genuine: dict[str, Any], resealed: Any, put: Any, told: Any) -> None:
    folder = put(resealed(genuine))
    if name in THINGS:
        THINGS[name](folder / "state.safetensors")
    elif name in CONTENT:
        (folder / "state.safetensors").write_bytes(CONTENT[name])
    code, text = told(sample, str(folder), "--out", "grid.png", "--executor", "inline")
    assert code == 2 and "state" in text and len(text) < 1000, text
    assert not (folder.parents[3] / "grid.png").exists()
