"""Checkpoints, states, weights, arrays, archives, images and options that a stranger made."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import stat
import struct
import sys
import tarfile
import warnings
import zipfile
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ganbench.datasets import DatasetError, cifar, svhn
from ganbench.datasets.folder import Folder
from ganbench.datasets.mnist import read_idx
from ganbench.datasets.npz import Archive
from ganbench.extractors import weight_files
from ganbench.harness.checkpoint import capture, restore
from ganbench.harness.serialization import encode, save
from ganbench.harness.serialization import load as load_tree
from ganbench.plugin.gan import GAN
from ganbench.scoring.archives import read_arrays
from ganbench.scoring.samples import Request, load
from ganbench.utils.errors import UsageError
from ganbench.utils.names import check_column, check_name


class Trap:
    def __reduce__(self) -> tuple[Any, ...]:
        return exec, ("open('SPRUNG', 'w')",)


def safetensors(header: Any, data: bytes = b"", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def tensor(dtype: str, shape: list[Any], begin: int, end: int) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


TENSORS: dict[str, bytes] = {
    "empty": b"",
    "cut": struct.pack("<Q", 100) + b"{",
    "header of exabytes": safetensors({}, length=1 << 62),
    "negative header": b"\xff" * 16,
    "deep": safetensors(b"[" * 100_000),
    "deep metadata": safetensors({"__metadata__": {"ganbench": "[" * 100_000}}),
    "terabyte": safetensors({"a": tensor("U8", [1 << 40], 0, 1 << 40)}, bytes(64)),
    "overflow": safetensors({"a": tensor("F32", [1 << 32, 1 << 32], 0, 64)}, bytes(64)),
    "overlap": safetensors({"a": tensor("U8", [64], 0, 64), "b": tensor("U8", [64], 0, 64)}, bytes(64)),
    "twice": safetensors(
        b'{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}',
        bytes(1),
    ),
    "backwards": safetensors({"a": tensor("U8", [64], 64, 0)}, bytes(64)),
    "negative shape": safetensors({"a": tensor("U8", [-64], 0, 64)}, bytes(64)),
    "digits": safetensors(b'{"a":{"dtype":"U8","shape":[' + b"9" * 5000 + b'],"data_offsets":[0,1]}}', bytes(1)),
    "unknown type": safetensors({"a": tensor("OBJECT", [1], 0, 8)}, bytes(8)),
    "list": safetensors([1, 2]),
    "surrogate": safetensors({"__metadata__": {"ganbench": '"\\ud800"'}}),
    "pickle": pickle.dumps(Trap()),
    "zip": b"PK\x03\x04" + bytes(64),
}
for _kind, _size in (
    ("F8_E4M3", 1),
    ("F8_E5M2", 1),
    ("BF16", 2),
    ("F16", 2),
    ("U64", 8),
    ("BOOL", 1),
    ("F4", 1),
    ("C64", 8),
):
    TENSORS[_kind] = safetensors({"images": tensor(_kind, [_size], 0, _size * _size)}, bytes([255]) * _size * _size)


def containing(content: Any, digest: str = "0" * 64) -> bytes:
    return safetensors({"__metadata__": {"ganbench": json.dumps({"content": content, "sha256": digest})}})


for _name, _content in {
    "no content": None,
    "unknown kind": {"call": "os.system"},
    "two kinds": {"tensor": "a", "float": "1"},
    "no tensor": {"tensor": "a"},
    "list for a tensor": {"tensor": ["a"]},
    "text for a float": {"float": "nan("},
    "huge float": {"float": 10**400},
    "number for a tuple": {"tuple": 1},
    "number for a dict": {"dict": 7},
    "keys that cannot be": {"dict": [[[1], 2]]},
}.items():
    import hashlib

    TENSORS[_name] = containing(
        _content, hashlib.sha256(json.dumps(_content, separators=(",", ":")).encode()).hexdigest()
    )


READERS: dict[str, Callable[[Path], Any]] = {
    "checkpoint": load_tree,
    "weights": weight_files.read,
    "samples": lambda path: load(str(path), Request()),
    "prepared": lambda path: recalled(path),
}


def recalled(path: Path) -> Any:
    from ganbench.datasets import prepared

    prepared.folder().mkdir(parents=True, exist_ok=True)
    (prepared.folder() / "folder-00000000.safetensors").write_bytes(path.read_bytes())
    found = prepared.recall("folder-00000000")
    return found.load("train") if found else None


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("name", TENSORS)
def test_tensors_from_a_stranger(name: str, reader: str, harmless: Any, inside: Path) -> None:
    (inside / "x.safetensors").write_bytes(TENSORS[name])
    found = harmless(lambda: READERS[reader](inside / "x.safetensors"))
    if (name, reader) == ("no content", "checkpoint"):
        assert found is None  # which is what it holds
    elif reader in ("checkpoint", "prepared"):
        assert (isinstance(found, str) and "x.safetensors" in found) or "folder-00000000" in found


class Tiny(GAN):
    name = "tiny"

    def build_generator(self) -> Any:
        return torch.nn.Linear(self.latent_dim, 2)

    def build_discriminator(self) -> Any:
        return torch.nn.Linear(2, 1)


@cache
def hostile_states() -> dict[str, Any]:
    """States with the right hash that are not those of such a variant."""
    state = capture(Tiny(torch.Size([2]), latent_dim=4))
    optimizer = state["optimizers"]["generator"]
    states = {name: {key: value for key, value in state.items() if key != name} for name in state}
    states |= {f"{name} of another type": {**state, name: 7} for name in state}
    for key in ("forward", "__class__", "generator", "train_step", "_parameters", "optimizers", "__dict__"):
        states[f"scalar {key}"] = {**state, "scalars": {**state["scalars"], "": {key: "x"}}}
    states["scalar tensor"] = {**state, "scalars": {**state["scalars"], "": {"lr": torch.zeros(1)}}}
    for key, value in {
        "class": "Optimizer",
        "class of none": "os",
        "groups": [{"params": ["nobody"]}],
        "state": {"nobody": {}},
        "lr": [{**optimizer["groups"][0], "lr": "fast"}],
    }.items():
        name = {"class of none": "class", "lr": "groups"}.get(key, key)
        states[f"optimizer {key}"] = {**state, "optimizers": {"generator": {**optimizer, name: value}}}
    for key, value in {"shape": torch.zeros(3), "number": 1, "nothing": None}.items():
        states[f"parameter {key}"] = {**state, "parameters": {**state["parameters"], "generator.weight": value}}
    return states


STATES = sorted(hostile_states())


@pytest.mark.parametrize("name", STATES)
def test_states_that_are_not_of_such_a_variant(name: str, harmless: Any, inside: Path) -> None:
    save(inside / "checkpoint.safetensors", hostile_states()[name])
    variant = Tiny(torch.Size([2]), latent_dim=4)
    told = harmless(lambda: restore(variant, load_tree(inside / "checkpoint.safetensors")))
    # Of some parts another value is as good: whether it is the right one, the record's hash of the state says.
    assert isinstance(told, str) or name.startswith("optimizer lr")
    assert callable(variant.forward) and type(variant) is Tiny and isinstance(variant.generator, torch.nn.Module)


@cache
def torch_files() -> dict[str, bytes]:
    def saved(value: Any, **options: Any) -> bytes:
        file = io.BytesIO()
        torch.save(value, file, **options)
        return file.getvalue()

    plain = saved({"a": torch.zeros(1 << 20)})
    packed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(plain)) as source, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as target:
        for info in source.infolist():
            target.writestr(info.filename, source.read(info))
    crow, index = torch.tensor([0, 1 << 24]), torch.zeros(1, dtype=torch.int64)
    with warnings.catch_warnings(action="ignore"):  # of torch: that these are in beta
        sparse = torch.sparse_csr_tensor(torch.tensor([0, 1]), index, torch.ones(1), (1, 1), check_invariants=False)
    return {
        "trap": saved({"a": Trap()}),
        "old trap": saved({"a": Trap()}, _use_new_zipfile_serialization=False),
        "raw trap": pickle.dumps({"a": Trap()}),
        "bomb": packed.getvalue(),
        "sparse": saved({"a": sparse}),
        "rows": saved({"a": crow, "b": torch.zeros(1).to_sparse()}),
        "numbers": saved({"a": 1}),
        "list": saved([torch.zeros(1)]),
        "cut": plain[:1000],
        "text": b"no weights",
        "nothing": b"",
        "opcodes": b"\x80\x02" + b"(" * 100_000 + b".",
        "memo": b"\x80\x02}q\xffX\xff\xff\xff\x7f",
    }


@pytest.mark.parametrize("name", sorted(torch_files()))
def test_weights_in_torchs_format(name: str, harmless: Any, inside: Path) -> None:
    (inside / "x.pth").write_bytes(torch_files()[name])
    told = harmless(lambda: weight_files.read(inside / "x.pth"))
    assert isinstance(told, str) and "x.pth" in told


def npy(shape: Any, descr: Any = "|u1", data: bytes = bytes(64), version: bytes = b"\x01\x00") -> bytes:
    header = shape if isinstance(shape, str) else repr({"descr": descr, "fortran_order": False, "shape": shape})
    text = header.encode().ljust(118) + b"\n"
    return b"\x93NUMPY" + version + struct.pack("<H" if version[0] == 1 else "<I", len(text)) + text + data


@cache
def npys() -> dict[str, bytes]:
    objects = io.BytesIO()
    np.save(objects, np.array([Trap()], dtype=object), allow_pickle=True)
    return {
        "objects": objects.getvalue(),
        "objects in a field": npy((1,), [("a", "|O")], pickle.dumps(Trap())),
        "terabyte": npy((1 << 40,)),
        "overflow": npy((1 << 62, 1 << 62)),
        "negative": npy((-1, 8, 8)),
        "true": npy((True, True)),
        "huge item": npy((1,), "|V2000000000"),
        "huge sub-array": npy((1,), ("u1", (1 << 30, 1 << 30))),
        "expression": npy("__import__('os').system('touch SPRUNG')"),
        "deep": npy("(" * 9000),
        "signs": npy("-" * 9000 + "1"),
        "long": npy("{" + "1:1," * 300_000, version=b"\x02\x00"),
        "version": npy((1,), version=b"\x09\x00"),
        "pickle": pickle.dumps(Trap()),
        "zip": zipped({"x.npy": npy((8, 8))}),
        "cut": b"\x93NUMPY",
        "infinite": npy((4, 2), "<f8", struct.pack("<d", float("inf")) * 8),
        "dates": npy((8,), "<M8[ns]"),
    }


def zipped(members: dict[str, bytes], change: Callable[[zipfile.ZipInfo], Any] = lambda info: None) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            change(info)
            archive.writestr(info, data)
    return out.getvalue()


@pytest.mark.parametrize("kind", ["npy", "npz", "dataset"])
@pytest.mark.parametrize("name", sorted(npys()))
def test_arrays_from_a_stranger(name: str, kind: str, harmless: Any, inside: Path) -> None:
    data = npys()[name]
    path = inside / ("x.npy" if kind == "npy" else "x.npz")
    path.write_bytes(data if kind == "npy" else zipped({"images.npy": data}))
    told = harmless(lambda: Archive().member(f"npz:{path}") if kind == "dataset" else load(str(path), Request()))
    assert isinstance(told, str) and path.name in told


ESCAPES = ("../x", "/etc/x", "a/../../x", "..\\x", "C:\\x", "C:x", "\\\\host\\x", "a/../..", "./../x", "\x00/../x")
IMAGE = zlib.decompress(zlib.compress(b"\x89PNG\r\n\x1a\n"))


def of_kind(kind: int) -> Callable[[zipfile.ZipInfo], Any]:
    return lambda info: setattr(info, "external_attr", (kind | 0o777) << 16)


@cache
def zips() -> dict[str, bytes]:
    found = {f"path {name!r}": zipped({f"{name}.png": IMAGE}) for name in ESCAPES}
    for name in ("S_IFLNK", "S_IFIFO", "S_IFCHR", "S_IFBLK", "S_IFSOCK"):
        found[name] = zipped({"x.png": b"/etc/passwd"}, of_kind(getattr(stat, name)))
    bomb = zipped({"x.png": bytes(1 << 27)})
    one = zipped({"a.png": bytes(1 << 20)})
    start, end = one.index(b"PK\x01\x02"), one.index(b"PK\x05\x06")
    entries = one[start:end] * 1000  # each entry leads to the same bytes
    tail = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 1000, 1000, len(entries), start, 0)
    encrypted = bytearray(zipped({"x.png": IMAGE}))
    for mark, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        encrypted[encrypted.index(mark) + place] |= 1
    found |= {"bomb": bomb, "overlap": one[:start] + entries + tail, "encrypted": bytes(encrypted), "cut": bomb[:1000]}
    found |= {
        "no image": zipped({"x.txt": b"x"}),
        "escape": zipped({"\x1b[2J\x07.png": IMAGE}),
        "empty": b"PK\x05\x06" + bytes(18),
    }
    return found


ZIPS = sorted(zips())


@pytest.mark.parametrize("name", ZIPS)
def test_archives_of_images(name: str, harmless: Any, inside: Path) -> None:
    (inside / "x.zip").write_bytes(zips()[name])
    told = harmless(lambda: load(str(inside / "x.zip"), Request()))
    assert isinstance(told, str) and "x.zip" in told


@pytest.mark.parametrize("name", ZIPS)
def test_archives_of_arrays(name: str, harmless: Any, inside: Path) -> None:
    (inside / "x.npz").write_bytes(zips()[name])
    told = harmless(lambda: (Archive().member(f"npz:{inside / 'x.npz'}"), read_arrays(inside / "x.npz")))
    assert isinstance(told, str) and "x.npz" in told


@cache
def tars() -> dict[str, bytes]:
    member = f"{cifar.FOLDER}/test_batch.bin"
    good = bytes(3 * 3073)

    def packed(*infos: tuple[str, bytes, bytes, str]) -> bytes:
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w:gz") as archive:
            for name, kind, data, link in infos:
                info = tarfile.TarInfo(name)
                info.type, info.size, info.linkname = kind, len(data), link
                archive.addfile(info, io.BytesIO(data))
        return out.getvalue()

    kinds = {"link": tarfile.SYMTYPE, "hard link": tarfile.LNKTYPE, "pipe": tarfile.FIFOTYPE, "device": tarfile.CHRTYPE}
    found = {kind: packed((member, code, b"", "/etc/passwd")) for kind, code in kinds.items()}
    found |= {f"path {name!r}": packed((name, tarfile.REGTYPE, good, "")) for name in ESCAPES[:8]}
    # The name leads out only once the links before it are followed, which a check of each name does not see.
    found["chain"] = packed(
        ("x", tarfile.SYMTYPE, b"", "a/b/../.."), ("a", tarfile.DIRTYPE, b"", ""), ("a/b", tarfile.SYMTYPE, b"", ".."),
        ("x/SPRUNG", tarfile.REGTYPE, b"", ""),
    )  # fmt: skip
    found["through a link"] = packed(
        (cifar.FOLDER, tarfile.SYMTYPE, b"", "../outside"), (member, tarfile.REGTYPE, good[:-1], "")
    )
    found["twice"] = packed(*[(member, tarfile.REGTYPE, good, "")] * 2)
    found["size"] = packed((member, tarfile.REGTYPE, bytes(1 << 24), ""))
    found |= {"cut": found["twice"][:60], "text": b"none", "gzip of nothing": gzip.compress(b"")}
    return found


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("name", sorted(tars()))
def test_tar_archives(name: str, known: bool, harmless: Any, inside: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those whose hash is not the publisher's are not opened; and the reader does not rely on that."""
    (inside / cifar.ARCHIVE).write_bytes(tars()[name])
    monkeypatch.setenv("GANBENCH_DATA", str(inside))
    (dataset,) = cifar.ganbench_datasets()
    names = [f"{cifar.FOLDER}/test_batch.bin"]
    told = harmless(
        lambda: cifar.read_members(inside / cifar.ARCHIVE, names, 3 * 3073) if known else dataset.load("test")
    )
    assert isinstance(told, str) and cifar.ARCHIVE in told and ("SHA-256" in told) == (not known)


def test_matlab_files_are_not_opened_unless_they_are_the_published_ones(
    harmless: Any, inside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GANBENCH_DATA", str(inside))
    head = b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM"
    for data in (b"", head + struct.pack("<II", 14, 1 << 31), head + struct.pack("<II", 15, 1 << 31) + b"x\x9c"):
        for file in svhn.FILES.values():
            (inside / file).write_bytes(data)
        assert "SHA-256" in harmless(lambda: svhn.ganbench_datasets()[0].load("test"))


IDX = {
    "exabytes": struct.pack(">4I", 0x803, 2**31, 2**31, 2**31),
    "dimensions": struct.pack(">I", 0x8FF) + b"\xff" * 1020,
    "floats": struct.pack(">4I", 0xD03, 2, 3, 3) + bytes(72),
    "cut": struct.pack(">I", 0x803),
    "nothing": b"",
    "pickle": pickle.dumps(Trap()),
}


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("name", IDX)
def test_idx_files(name: str, suffix: str, harmless: Any, inside: Path) -> None:
    path = inside / f"x{suffix}"
    path.write_bytes(gzip.compress(IDX[name]) if suffix else IDX[name])
    assert str(path) in harmless(lambda: read_idx(path, (2, 3, 3)))


def png(width: int, height: int, *chunks: tuple[bytes, bytes], data: bytes = b"") -> bytes:
    header = (b"IHDR", struct.pack(">2I5B", width, height, 8, 2, 0, 0, 0))
    every = (header, *chunks, (b"IDAT", zlib.compress(data)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in every
    )


IMAGES = {
    "3.6 gigapixels": png(60_000, 60_000),
    "2^31 wide": png(2**31 - 1, 1),
    "nothing wide": png(0, 5),
    "text that unpacks": png(8, 8, (b"zTXt", b"a\0\0" + zlib.compress(bytes(1 << 24)))),
    "profile that unpacks": png(8, 8, (b"iCCP", b"a\0\0" + zlib.compress(bytes(1 << 24)))),
    "no pixels": png(8, 8),
    "postscript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(SPRUNG) (w) file\n",
    "svg": b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>",
    "gif": b"GIF89a\xff\xff\xff\xff\xf7\x00\x00" + bytes(768),
    "bmp": b"BM" + struct.pack("<IHHIIIIHHIIIIII", 54, 0, 0, 54, 40, 1 << 30, 1 << 30, 1, 24, 0, 0, 0, 0, 0, 0),
    "webp": b"RIFF\xff\xff\xff\x7fWEBPVP8X\x0a\0\0\0\x10\0\0\0\xff\xff\xff\xff\xff\xff",
    "jpeg": b"\xff\xd8\xff\xc0\x00\x11\x08\xff\xff\xff\xff\x03\x01\x22\x00\x02\x11\x01\x03\x11\x01",
}  # fmt: skip


@pytest.mark.parametrize("kind", ["folder", "dataset", "zip"])
@pytest.mark.parametrize("name", IMAGES)
def test_images(name: str, kind: str, harmless: Any, inside: Path) -> None:
    place = inside / "photos"
    place.mkdir()
    (place / "\x1b]0;owned\x07.png").write_bytes(IMAGES[name])
    (inside / "x.zip").write_bytes(zipped({"x.png": IMAGES[name]}))
    calls = {
        "folder": lambda: load(str(place), Request()),
        "dataset": lambda: Folder().member(f"folder:{place}"),
        "zip": lambda: load(str(inside / "x.zip"), Request()),
    }
    assert isinstance(harmless(calls[kind]), str)


NAMES = (
    "../x",
    "/x",
    "a/b",
    "con",
    "CON",
    "nul.txt",
    "com1",
    "lpt9.log",
    "NA",
    "na",
    "nan",
    "null",
    "007",
    "1e5",
    "true",
)
NAMES += (
    "",
    ".",
    "..",
    "-rf",
    "--help",
    "é",
    "e\u0301",
    "ＤＣＧＡＮ",
    "dсgan",
    "DCGAN",
    "Dcgan",
    "a" * 65,
    "a.",
    " a",
    "a\n",
)
NAMES += ("a\0", "=1", "<b>", "a;b", "$(x)", "`x`", "a\u202eb", "{{7}}", "%s", "~", "a:b", "a\\b", "0x1\x1b[2J")


@pytest.mark.parametrize("name", NAMES)
def test_names_that_are_none(name: str, harmless: Any) -> None:
    def check() -> None:
        for rule in (check_name,) if name in ("nul.txt", "lpt9.log") else (check_name, check_column):
            with pytest.raises(ValueError, match="not a valid") as caught:
                rule(name)
            assert str(caught.value).isprintable()

    harmless(check)
    assert check_name("con-gan") and check_name("7gan") and check_name("nano") and check_column("prd.f8")


OPTIONS = {
    "deep": b"plugins = " + b"[" * 30_000,
    "deep tables": b"[" + b"a." * 15_000 + b"a]",
    "digits": b"images = " + b"9" * 5000,
    "table": b"plugins = {a = 1}",
    "tables": b"[[plugins]]\na = 1",
    "date": b"timeout = 1979-05-27",
    "nan": b"timeout = nan",
    "infinity": b"timeout = inf",
    "true": b"images = true",
    "list": b"images = [1, 2]",
    "number for a flag": b"retry-failed = 3",
    "negative": b"images = -5",
    "many": b"evaluations = 1000000",
    "shell": b"executor = '$(touch SPRUNG)'",
    "unknown": b'"\\u001b[2J" = 1',
    "executor": b"executor = 'os:system'",
    "latin": b"plugins = '\xe9'",
    "nul": b'results = "\\u0000"',
    "huge": b"#" * (1 << 21),
    "python": b"!!python/object/apply:os.system ['touch SPRUNG']",
}  # fmt: skip


@pytest.mark.parametrize("name", OPTIONS)
def test_files_of_options(
    name: str, harmless: Any, inside: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from ganbench.cli import main

    (inside / "x.toml").write_bytes(OPTIONS[name])
    monkeypatch.setattr(sys, "argv", ["ganbench", "run", "-p", "dcgan", "--dry-run", "--config", "x.toml"])
    told: list[str] = []

    def run() -> None:
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == 2
        told.append("".join(capfd.readouterr()))

    harmless(run)
    assert all(c.isprintable() or c == "\n" for c in told[0]) and len(told[0]) < 2000


def test_what_encode_refuses_cannot_come_back() -> None:
    with pytest.raises(TypeError):
        encode({"x": Trap()}, {}, "state")
    with pytest.raises((UsageError, DatasetError)):
        load("nowhere/at/all", Request())


@pytest.mark.parametrize("name", TENSORS)
def test_states_that_are_none_are_not_merged(
    name: str, genuine: Any, resealed: Any, merged: Any, put: Any, inside: Path
) -> None:
    folder = put(resealed(genuine))
    (folder / "state.safetensors").write_bytes(TENSORS[name])
    code, text = merged()
    assert code == 3 and "state.safetensors" in text
    assert not list((inside / "target").rglob("state.safetensors"))
