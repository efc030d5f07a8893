"""Options that commands share."""

from __future__ import annotations

from pathlib import Path

import pytest

from ganbench.cli.options import Names


def test_a_comma_is_the_paths_own_where_that_path_exists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a,b", "c"):
        (tmp_path / name).mkdir()

    def split(text: str) -> tuple[str, ...]:
        return Names().convert(text, None, None)

    assert split("folder:a,b") == ("folder:a,b",)
    assert split("digits, folder:a,b@size=8@grey,ring8") == ("digits", "folder:a,b@size=8@grey", "ring8")
    assert split(f"folder:{tmp_path}/a,b,folder:c") == (f"folder:{tmp_path}/a,b", "folder:c")
    assert split("folder:c,digits") == ("folder:c", "digits")
    assert split("folder:no,where,") == ("folder:no", "where")
