"""Options that commands share."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from ganbench.cli.options import Folder, Names, NewFile, Positive


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


@pytest.mark.parametrize("kind", [Folder(), NewFile()])
def test_an_empty_path_is_not_this_folder(kind: click.ParamType) -> None:
    with pytest.raises(click.BadParameter, match="it is empty"):
        kind.convert("", None, None)


@pytest.mark.parametrize("text", ["nan", "inf", "0", "-1"])
def test_a_number_is_positive_and_finite(text: str) -> None:
    with pytest.raises(click.BadParameter):
        Positive().convert(text, None, None)
