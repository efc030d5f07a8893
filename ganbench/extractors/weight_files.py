"""Download files of weights, check them by hash, and read them without running code that they may hold."""

from __future__ import annotations

import hashlib
import json
import re
import warnings
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganbench.utils import canonical_json
from ganbench.utils.errors import UsageError, in_words
from ganbench.utils.files import cache_folder, replacing
from ganbench.utils.withheld import may_do

if TYPE_CHECKING:
    from torch import Tensor

_HEX = re.compile(r"[0-9a-f]{8}")


@dataclass(frozen=True)
class Published:
    """A file of weights that can be downloaded.

    Attributes:
        url: where they are.
        digest: the first digits of their SHA-256 as far as their publisher states them; "" where nobody does.
        file: their name in torch hub's cache, or "" for the last part of ``url``.
    """

    url: str
    digest: str
    file: str = ""

    def obtain(self, name: str) -> Path:
        """The file in torch hub's cache folder, downloaded at the first use.

        Raises:
            UsageError: it is not there and cannot be downloaded, or is not what was published.
        """
        import torch.hub

        folder = Path(torch.hub.get_dir()) / "checkpoints"
        path = folder / (self.file or self.url.rpartition("/")[2])
        if not path.exists():
            may_do(f"download the weights of {name} from {self.url}")
            try:
                folder.mkdir(parents=True, exist_ok=True)
                torch.hub.download_url_to_file(self.url, str(path), hash_prefix=self.digest or None, progress=False)
            except (OSError, RuntimeError) as reason:  # no network, a full disk, another hash
                raise UsageError(
                    f"extractor {name} needs weights that are not on this machine, and they could not be downloaded "
                    f"({reason}). Put {self.url} at {path}, or give a file with --weights FILE"
                ) from None
        if not digest(path).startswith(self.digest):
            raise UsageError(
                f"{path} is not what was published as {self.url}: its SHA-256 should begin with {self.digest}. "
                "Remove it, or give it with --weights to use it under its own hash"
            )
        return path


def digest(path: Path) -> str:
    """Hex SHA-256 of a file; raises UsageError if it cannot be read."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as reason:
        raise UsageError(f"{path} cannot be read: {reason.strerror}") from None


def read(path: Path) -> dict[str, Tensor]:
    """Tensors by name from safetensors, or from ``torch.save``'s format with ``weights_only=True``.

    Raises:
        UsageError: it is neither, or holds more than tensors. TorchScript archives hold code.
    """
    import torch
    from safetensors.torch import load_file

    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except Exception as reason:  # its reader, and torch's of its types, raise many kinds
            raise UsageError(f"{path} cannot be read: {in_words(reason)}") from None
    try:
        _refuse_packed(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that an archive is TorchScript: it is refused
            state: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as reason:  # its reader raises many kinds
        words = in_words(reason)
        raise UsageError(
            f"{path} cannot be read: {words}. Only tensors are read, from safetensors or from what "
            "torch.save(network.state_dict(), ...) wrote"
        ) from None
    if not isinstance(state, dict) or not all(_is_dense(value) for value in state.values()):
        raise UsageError(f"{path} is not a state dict: expected dense tensors by name")
    return dict(state)


def _is_dense(value: object) -> bool:
    """Whether it is a tensor with a value of its own for each element: sparse ones can name places that they lack."""
    import torch

    return (
        isinstance(value, torch.Tensor)
        and value.layout is torch.strided
        and value.device.type == "cpu"
        and not value.is_quantized
        and value.untyped_storage().nbytes() >= value.numel() * value.element_size()
    )


def _refuse_packed(path: Path) -> None:
    """Raise ValueError for a zip archive that unpacks to more than it is: ``torch.save`` packs nothing."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if sum(info.file_size for info in archive.infolist()) > path.stat().st_size:
                raise ValueError("it unpacks to more than it is")


def remember(path: Path, sha256: str) -> None:
    """Note where a file of that hash is: processes that only know its hash find it."""
    with replacing(cache_folder("weights") / f"{sha256}.json") as temporary:
        temporary.write_text(json.dumps(str(path)))


def recall(name: str, hash8: str) -> Path:
    """The file whose hash begins with ``hash8``; raises UsageError where it is no longer what it was."""
    notes = sorted(cache_folder("weights").glob(f"{hash8}*.json")) if _HEX.fullmatch(hash8) else []
    for note in notes:
        try:
            path = Path(canonical_json.loads(note.read_bytes()))
        except (OSError, ValueError, TypeError):  # a damaged note is none
            continue
        if path.is_file() and digest(path) == note.stem:
            return path
    raise UsageError(
        f"the weights of extractor {name}@{hash8} are not on this machine, or not where they were; "
        "give their file again with --weights"
    )
