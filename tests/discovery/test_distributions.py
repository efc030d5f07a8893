"""What an interrupted installation leaves behind stops nothing, and is named with what to delete."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

import pytest

from ganbench.discovery.entry_points import find_installed


def install(folder: Path, name: str, version: str, module: bytes | None = None) -> Path:
    """Metadata of ``my-gan`` in a folder called ``name``; ``module`` is what it recorded of my_gan.py."""
    info = folder / name
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: my-gan\nVersion: {version}\n")
    (info / "entry_points.txt").write_text("[ganbench]\nmy-gan = my_gan\n")
    if module is not None:
        digest = base64.urlsafe_b64encode(hashlib.sha256(module).digest()).decode().rstrip("=")
        (info / "RECORD").write_text(f"my_gan.py,sha256={digest},{len(module)}\n")
    return info


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(tmp_path / "site")
    return tmp_path / "site"


def test_folders_that_pip_ignores_are_ignored(site: Path) -> None:
    install(site, "my_gan-0.2.0.dist-info", "0.2.0")
    install(site, "~y_gan-0.1.0.dist-info", "0.1.0")
    found = find_installed()
    assert [point.version for point in found.points["my-gan"]] == ["0.2.0"] and not found.left_over


@pytest.mark.parametrize("left", ["my_gan-0.1.0.dist-info", "copy_gan-0.2.0.dist-info", "my_gan-0.9.0.dist-info"])
def test_the_one_whose_files_are_there_is_used_and_the_other_named(site: Path, left: str) -> None:
    used = install(site, "my_gan-0.2.0.dist-info", "0.2.0", b"new")
    (site / "my_gan.py").write_bytes(b"new")
    other = install(site, left, "0.2.0" if "copy" in left else ".".join(left.split("-")[1].split(".")[:3]), b"old")
    found = find_installed()
    assert [point.version for point in found.points["my-gan"]] == ["0.2.0"]
    (text,) = found.left_over
    assert f"{used} (0.2.0) is used" in text and f"Delete {other}" in text


def test_a_folder_reached_twice_or_hidden_by_another_is_one(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(site, "my_gan-0.2.0.dist-info", "0.2.0")
    install(tmp_path / "clone", "my_gan-0.1.0.dist-info", "0.1.0")
    (tmp_path / "link").symlink_to(site)
    monkeypatch.syspath_prepend(tmp_path / "link")
    monkeypatch.setattr("sys.path", [*__import__("sys").path, str(tmp_path / "clone")])
    found = find_installed()
    assert [point.version for point in found.points["my-gan"]] == ["0.2.0"] and not found.left_over


def test_damaged_metadata_costs_its_own_distribution_alone(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_DEVICE_BACKEND_AUTOLOAD", "1")
    install(site, "my_gan-0.2.0.dist-info", "0.2.0")
    for name, content in {"bytes": b"\xff\xfe[ganbench]", "no_lines": b"[ganbench]\nx\n"}.items():
        (site / f"{name}-1.0.dist-info").mkdir()
        (site / f"{name}-1.0.dist-info" / "entry_points.txt").write_bytes(content)
    (site / "bare-1.0.dist-info").mkdir()
    (site / "bare-1.0.dist-info" / "entry_points.txt").write_text("[ganbench]\nbare = bare\n")
    found = find_installed()
    assert {"my-gan", "bare", "vanilla"} <= found.points.keys()
    assert found.points["bare"][0].distribution == "bare"
    assert "bytes-1.0.dist-info/entry_points.txt cannot be read" in found.damaged["bytes", "1.0"]
