"""Datasets that are published as files: found on the machine, downloaded once, verified, and read without running them.

Tiny files in the official formats stand in for the real ones; ``test_datasets`` reads those of MNIST and its relatives.
"""

from __future__ import annotations

import gzip
import hashlib
import http.server
import io
import struct
import tarfile
import threading
import tracemalloc

import numpy as np
import pytest

from ganbench.datasets import DatasetError, cifar, mnist, published, svhn
from ganbench.datasets.mnist import read_idx

MODULES = (cifar, svhn, mnist)
EVERY = [dataset for module in MODULES for dataset in module.ganbench_datasets()]


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def idx_bytes(array):
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def small(n=4, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (n, 3, 3), dtype=np.uint8), rng.integers(0, 2, n, dtype=np.uint8)


ARRAYS = {"train": small(4, 4), "test": small(2, 2)}
# The four files as published, by name.
FILES = {
    f"{prefix}-{kind}-ubyte.gz": gzip.compress(idx_bytes(array), mtime=0)
    for split, prefix in mnist.PREFIX.items()
    for kind, array in zip(("images-idx3", "labels-idx1"), ARRAYS[split], strict=True)
}


def write_set(folder, suffix=".gz"):
    """The set as its publisher packs it, or unpacked."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in FILES.items():
        path = folder / (name if suffix else name.removesuffix(".gz"))
        path.write_bytes(data if suffix else gzip.decompress(data))


def row(**changes):
    fields = {
        "name": "small",
        "shape": (1, 3, 3),
        "classes": 2,
        "budget_images": 64,
        "counts": {"train": 4, "test": 2},
        "sums": {name: sha256(data) for name, data in FILES.items()},
        "unpacked": {name: sha256(gzip.decompress(data)) for name, data in FILES.items()},
        "mirrors": ("http://127.0.0.1:9/",),
        "aliases": ("Small/raw",),
        "package": "dataset-small",
    }
    return mnist.IdxDataset(**{**fields, **changes})


@pytest.fixture(autouse=True)
def nowhere(tmp_path, monkeypatch):
    """Only what a test puts there is found."""
    monkeypatch.delenv("GANBENCH_DATA", raising=False)
    monkeypatch.setattr("platformdirs.user_cache_dir", lambda name: str(tmp_path / "cache" / name))
    monkeypatch.setattr(published, "SYSTEM", tmp_path / "system")


@pytest.fixture
def offline(monkeypatch):
    import requests

    def refuse(*_, **__):
        raise requests.ConnectionError("no route to host")

    monkeypatch.setattr(requests, "get", refuse)


@pytest.mark.parametrize("dataset", EVERY, ids=str)
def test_every_file_has_a_sha256_and_a_mirror(dataset):
    assert dataset.sums and dataset.mirrors
    assert all(len(known) == 64 and set(known) <= set("0123456789abcdef") for known in dataset.sums.values())
    assert all(mirror.startswith("http") and mirror.endswith("/") for mirror in dataset.mirrors)
    assert len({known for one in EVERY for known in one.sums.values()}) == sum(len(one.sums) for one in EVERY)


def test_torchvision_knows_the_same_files():
    """A slip in a name or a mirror would show only on the day of a download."""
    datasets = pytest.importorskip("torchvision").datasets
    for name, theirs in (("mnist", "MNIST"), ("fashion-mnist", "FashionMNIST"), ("kmnist", "KMNIST")):
        ours = next(one for one in EVERY if one.name == name)
        assert set(ours.sums) == {file for file, _ in getattr(datasets, theirs).resources}
        assert set(ours.mirrors) & set(getattr(datasets, theirs).mirrors)
        assert ours.aliases == (f"{theirs}/raw",)
    ours = next(one for one in EVERY if one.name == "svhn")
    urls = {datasets.SVHN.split_list[split][0] for split in ("train", "test")}
    assert {f"{ours.mirrors[0]}{file}" for file in ours.sums} == urls


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("below", [".", "small", "Small/raw"])
def test_the_users_own_folder(tmp_path, monkeypatch, suffix, below):
    write_set(tmp_path / "mine" / below, suffix)
    monkeypatch.setenv("GANBENCH_DATA", str(tmp_path / "mine"))
    for split, (images, labels) in ARRAYS.items():
        data, found = row().load(split)
        assert data.shape == (len(images), 1, 3, 3) and (data[:, 0] == images).all()
        assert data.flags.writeable and found.dtype == np.int64 and (found == labels).all()


def test_packed_again_is_the_same_file_only_where_its_content_is_known(tmp_path, monkeypatch):
    (tmp_path / "small").mkdir()
    for name, data in FILES.items():
        (tmp_path / "small" / name).write_bytes(gzip.compress(gzip.decompress(data), compresslevel=1, mtime=7))
    monkeypatch.setenv("GANBENCH_DATA", str(tmp_path))
    assert (row().load("test")[0][:, 0] == ARRAYS["test"][0]).all()
    with pytest.raises(DatasetError, match="SHA-256"):
        row(unpacked={}).load("test")


def test_the_order_of_sources(tmp_path, monkeypatch):
    dataset = row()
    folders = {
        "own": tmp_path / "mine" / "small",
        "system": tmp_path / "system" / "small",
        "cache": tmp_path / "cache" / "ganbench" / "small",
    }
    monkeypatch.setenv("GANBENCH_DATA", str(tmp_path / "mine"))
    for source in ("cache", "system", "own"):
        write_set(folders[source])
        assert {path.parent for path in dataset.find().values()} == {folders[source]}
    # A folder that lacks one of the four is passed over, not mixed with another.
    next(folders["own"].iterdir()).unlink()
    assert {path.parent for path in dataset.find().values()} == {folders["system"]}


@pytest.mark.parametrize("known", ["sums", "unpacked"])
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_files_of_another_dataset_with_these_names_are_passed_over(tmp_path, monkeypatch, offline, suffix, known):
    """MNIST, Fashion-MNIST and KMNIST have the same names, and GANBENCH_DATA may be the folder of one of them."""
    mine, system = tmp_path / "mine", tmp_path / "system" / "small"
    write_set(mine, suffix)
    other = row(name="other", **{{"sums": "unpacked", "unpacked": "sums"}[known]: dict.fromkeys(FILES, "0" * 64)})
    monkeypatch.setenv("GANBENCH_DATA", str(mine))
    changed = {name: gzip.compress(gzip.decompress(data)[:-1] + b"?", mtime=0) for name, data in FILES.items()}
    dataset = row(sums={name: sha256(data) for name, data in changed.items()}, unpacked={})
    monkeypatch.setattr(mnist, "IDX", [other, dataset])
    if known == "sums" and not suffix:  # unpacked, while only the SHA-256 of the packed files is known
        with pytest.raises(DatasetError, match="is not a file of small"):
            dataset.load("test")
        return
    with pytest.raises(DatasetError) as caught:
        dataset.load("test")
    assert f"The files of these names in {mine} are those of other" in str(caught.value)
    system.mkdir(parents=True)
    for name, data in changed.items():
        (system / name).write_bytes(data)
    assert {path.parent for path in dataset.find().values()} == {system}
    assert dataset.load("test")[1][-1] == ord("?")
    assert {path.parent for path in other.find().values()} == {mine}


@pytest.mark.parametrize("file", FILES)
def test_another_file_of_the_right_form_is_refused(tmp_path, monkeypatch, file):
    write_set(tmp_path)
    content = bytearray(gzip.decompress(FILES[file]))
    content[-1] ^= 1
    (tmp_path / file).write_bytes(gzip.compress(bytes(content)))
    monkeypatch.setenv("GANBENCH_DATA", str(tmp_path))
    split = "train" if file.startswith("train") else "test"
    with pytest.raises(DatasetError, match=f"{file} is not a file of small: its SHA-256 is") as caught:
        row().load(split)
    assert row().sums[file] in str(caught.value)


@pytest.mark.parametrize("dataset", EVERY, ids=str)
@pytest.mark.parametrize("given", [None, "empty"])
def test_without_any_source_the_error_names_the_ways(tmp_path, monkeypatch, offline, dataset, given):
    if given:
        monkeypatch.setenv("GANBENCH_DATA", str(tmp_path / given))
    with pytest.raises(DatasetError) as caught:
        dataset.load("test")
    message = str(caught.value)
    for part in (
        f"{dataset.name} is not on this machine",
        "set GANBENCH_DATA to a folder",
        *dataset.sums,
        f"be online once, so that they can be downloaded into {dataset.cache()}",
        "no route to host",
    ):
        assert part in message
    assert ("apt-get install" in message) == (dataset.package is not None)
    assert (f"GANBENCH_DATA is {tmp_path / 'empty'}, which does not hold them" in message) == bool(given)
    assert not [path for path in dataset.cache().iterdir() if path.name != ".lock"]


# --- downloads, from a server of the test's own


class Server(http.server.ThreadingHTTPServer):
    """Serves FILES; ``cut`` ends an answer after so many bytes, ``ranges`` is whether it can begin in the middle."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.cut, self.ranges, self.asked = dict(FILES), None, True, []
        self.url = f"http://127.0.0.1:{self.server_address[1]}/"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self):
        server, name = self.server, self.path[1:]
        begin = 0
        if server.ranges and (asked := self.headers.get("Range")):
            begin = int(asked.removeprefix("bytes=").removesuffix("-"))
        server.asked.append((name, begin))
        data = server.files.get(name)
        if data is None or begin >= len(data):
            self.send_error(404 if data is None else 416)
            return
        self.send_response(206 if begin else 200)
        self.send_header("Content-Length", str(len(data) - begin))
        self.end_headers()
        self.wfile.write(data[begin : server.cut])
        self.close_connection = True

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    made = Server()
    thread = threading.Thread(target=made.serve_forever, daemon=True)
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


def test_a_download_is_kept_in_the_cache(server, capfd):
    dataset = row(mirrors=("http://127.0.0.1:9/", server.url))  # nobody listens at the first
    first, again = dataset.load("train"), dataset.load("train")
    assert (first[0] == again[0]).all() and (first[1] == ARRAYS["train"][1]).all()
    assert [name for name, _ in server.asked] == list(FILES)
    assert sorted(path.name for path in dataset.cache().iterdir()) == sorted([".lock", *FILES])
    assert all((dataset.cache() / name).read_bytes() == data for name, data in FILES.items())
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize("ranges", [True, False])
def test_an_interrupted_download_goes_on(server, monkeypatch, ranges):
    monkeypatch.setattr(published, "BLOCK", 4)
    dataset = row(mirrors=(server.url,))
    names = list(FILES)
    server.cut, server.ranges = 20, ranges
    with pytest.raises(DatasetError, match="is not on this machine"):
        dataset.load("train")
    # Half a file is there under no name that anybody reads.
    assert sorted(path.name for path in dataset.cache().iterdir()) == [".lock", f".{names[0]}.part"]
    assert dataset.files_in(dataset.cache()) is None
    server.cut = None
    server.asked.clear()
    dataset.load("train")
    assert server.asked == [(names[0], 20 if ranges else 0), *((name, 0) for name in names[1:])]
    assert not list(dataset.cache().glob(".*.part"))


def test_files_that_are_complete_are_not_fetched_again(server):
    dataset = row(mirrors=(server.url,))
    last = list(FILES)[-1]
    del server.files[last]
    with pytest.raises(DatasetError, match="404"):
        dataset.find()
    server.files[last] = FILES[last]
    server.asked.clear()
    dataset.find()
    assert server.asked == [(last, 0)]


def test_what_is_not_the_published_file_never_appears(server):
    dataset = row(mirrors=(server.url,))
    first = next(iter(FILES))
    server.files[first] = FILES[first][:-1] + b"?"
    with pytest.raises(DatasetError, match=r"[Hh]ash"):
        dataset.find()
    assert [path.name for path in dataset.cache().iterdir()] == [".lock"]
    # The right file is fetched from the start next time, not appended to the wrong one.
    server.files[first] = FILES[first]
    dataset.load("train")


def test_a_partial_file_that_was_complete_is_used(server):
    dataset = row(mirrors=(server.url,))
    first = next(iter(FILES))
    dataset.cache().mkdir(parents=True)
    (dataset.cache() / f".{first}.part").write_bytes(FILES[first])
    dataset.load("train")
    assert server.asked[0] == (first, len(FILES[first]))


def test_two_that_download_at_once_do_no_harm(server):
    datasets = [row(mirrors=(server.url,)) for _ in range(4)]
    threads = [threading.Thread(target=dataset.find) for dataset in datasets]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [name for name, _ in server.asked] == list(FILES)


# --- CIFAR-10: the binary version


def cifar_files(n=3):
    rng = np.random.default_rng(0)
    batches = {}
    for name in (*cifar.BATCHES["train"], *cifar.BATCHES["test"]):
        images = rng.integers(0, 256, (n, 3, 32, 32), dtype=np.uint8)
        labels = rng.integers(0, 10, n, dtype=np.uint8)
        records = b"".join(bytes([label]) + image.tobytes() for image, label in zip(images, labels, strict=True))
        batches[name] = (images, labels, records)
    return batches


def tar(members):
    """A gzipped tar archive of (TarInfo or name, bytes)."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for info, data in members:
            if isinstance(info, str):
                info = tarfile.TarInfo(f"{cifar.FOLDER}/{info}")
                info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return packed.getvalue()


def cifar_at(folder, monkeypatch, data, n=3):
    folder.mkdir(exist_ok=True)
    (folder / cifar.ARCHIVE).write_bytes(data)
    monkeypatch.setenv("GANBENCH_DATA", str(folder))
    return cifar.Cifar(name="cifar10", budget_images=64, sums={cifar.ARCHIVE: sha256(data)}, mirrors=(), batch=n)


def test_cifar(tmp_path, monkeypatch):
    batches = cifar_files()
    members = [("batches.meta.txt", b"airplane\n"), *((name, batch[2]) for name, batch in batches.items())]
    dataset = cifar_at(tmp_path, monkeypatch, tar(members[::-1]))  # the order in the archive does not matter
    for split, names in cifar.BATCHES.items():
        images, labels = dataset.load(split)
        assert (images == np.concatenate([batches[name][0] for name in names])).all()
        assert (labels == np.concatenate([batches[name][1] for name in names])).all()
        assert images.dtype == np.uint8 and images.flags.writeable and labels.dtype == np.int64
    assert [path.name for path in tmp_path.iterdir()] == [cifar.ARCHIVE]  # nothing was unpacked


def cifar_damage():
    good = cifar_files()["test_batch.bin"][2]
    link = tarfile.TarInfo(f"{cifar.FOLDER}/test_batch.bin")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    return {
        "missing": ([], "does not hold"),
        "short": ([("test_batch.bin", good[:-1])], "not the one plain file of 9,219 bytes"),
        "huge": ([("test_batch.bin", bytes(2**24))], "not the one plain file"),
        "link": ([(link, b"")], "not the one plain file"),
        "twice": ([("test_batch.bin", good)] * 2, "not the one plain file"),
        "label": ([("test_batch.bin", b"\x0a" + good[1:])], "a label is 10"),
    }


@pytest.mark.parametrize("name", cifar_damage())
def test_a_wrong_cifar_archive_is_refused(tmp_path, monkeypatch, name):
    members, message = cifar_damage()[name]
    with pytest.raises(DatasetError, match=message):
        cifar_at(tmp_path, monkeypatch, tar(members)).load("test")


def test_a_cifar_archive_cut_short_or_changed_is_refused(tmp_path, monkeypatch):
    data = tar([(name, batch[2]) for name, batch in cifar_files().items()])
    with pytest.raises(DatasetError, match="cannot be read"):
        cifar_at(tmp_path, monkeypatch, data[: len(data) // 2]).load("test")
    dataset = cifar_at(tmp_path, monkeypatch, data)
    (tmp_path / cifar.ARCHIVE).write_bytes(data + b"?")
    with pytest.raises(DatasetError, match="SHA-256"):
        dataset.load("test")


# --- SVHN: MATLAB files


def house_numbers(folder, monkeypatch, counts, **arrays):
    from scipy.io import savemat

    sums = {}
    for split, file in svhn.FILES.items():
        n = counts[split]
        rng = np.random.default_rng(n)
        images = rng.integers(0, 256, (32, 32, 3, n), dtype=np.uint8)
        labels = np.arange(1, n + 1, dtype=np.uint8)[:, None]
        savemat(folder / file, {"X": images, "y": labels, **arrays}, do_compression=True)
        sums[file] = sha256((folder / file).read_bytes())
    monkeypatch.setenv("GANBENCH_DATA", str(folder))
    return svhn.HouseNumbers(name="svhn", budget_images=64, sums=sums, mirrors=(), counts=counts)


def test_svhn(tmp_path, monkeypatch):
    from scipy.io import loadmat

    counts = {"train": 10, "test": 4}
    dataset = house_numbers(tmp_path, monkeypatch, counts)
    for split, n in counts.items():
        images, labels = dataset.load(split)
        stored = loadmat(tmp_path / svhn.FILES[split])["X"]
        assert images.shape == (n, 3, 32, 32) and images.dtype == np.uint8 and images.flags.c_contiguous
        assert images[2, 1, 5, 7] == stored[5, 7, 1, 2]
        assert labels.tolist() == [*range(1, 10), 0][:n]  # ten stands for the digit 0


@pytest.mark.parametrize(
    "arrays",
    [
        {"X": np.zeros((32, 32, 3, 5), np.uint8)},
        {"X": np.zeros((32, 32, 3, 4))},
        {"y": np.full((4, 1), 11, np.uint8)},
        {"y": np.full((4, 1), 0.5)},
        {"X": "text"},
    ],
)
def test_a_wrong_svhn_file_is_refused(tmp_path, monkeypatch, arrays):
    dataset = house_numbers(tmp_path, monkeypatch, {"train": 4, "test": 4}, **arrays)
    with pytest.raises(DatasetError, match="does not hold 4 images X and their labels y"):
        dataset.load("test")


def test_svhn_is_verified_before_it_is_parsed(tmp_path, monkeypatch):
    dataset = house_numbers(tmp_path, monkeypatch, {"train": 4, "test": 4})
    (tmp_path / svhn.FILES["test"]).write_bytes(b"no MATLAB file at all")
    with pytest.raises(DatasetError, match="SHA-256"):
        dataset.load("test")


# --- IDX files


GOOD = np.arange(18, dtype=np.uint8).reshape(2, 3, 3)


@pytest.mark.parametrize("name", ["a", "a.gz"])
def test_idx_round_trip(tmp_path, name):
    path = tmp_path / name
    data = idx_bytes(GOOD)
    path.write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    assert (read_idx(path, (2, 3, 3)) == GOOD).all()


def damaged():
    data = idx_bytes(GOOD)
    header = struct.pack(">4I", 0x803, 2**31, 2**31, 2**31)
    packed = gzip.compress(data)
    flipped = bytearray(packed)
    flipped[-6] ^= 1  # in the checksum that ends a gzip file
    return {
        "empty": (b"", "not IDX"),
        "magic": (b"\x00\x00\x09\x03" + data[4:], "not IDX: it begins with 00 00 09 03, not 00 00 08 03"),
        "dimensions": (b"\x00\x00\x08\x01" + data[4:], "not IDX"),
        "header cut short": (data[:10], "declares the shape"),
        "other shape": (idx_bytes(GOOD.reshape(3, 2, 3)), r"shape \(3, 2, 3\), expected \(2, 3, 3\)"),
        "exabytes": (header, "declares the shape"),
        "truncated": (data[:-1], "declares 18 values and holds only 17"),
        "too long": (data + b"\x00", "declares 18 values and holds more"),
        "not gzip.gz": (data, "cannot be read: Not a gzipped file"),
        "cut gzip.gz": (packed[:-12], "cannot be read"),
        "bad checksum.gz": (bytes(flipped), "cannot be read: CRC check failed"),
        "garbage in gzip.gz": (packed[:10] + b"\x07" + packed[11:], "cannot be read: .*invalid block type"),
    }


@pytest.mark.parametrize("name", damaged())
def test_damaged_idx_is_refused(tmp_path, name):
    data, message = damaged()[name]
    (tmp_path / name).write_bytes(data)
    with pytest.raises(DatasetError, match=message) as caught:
        read_idx(tmp_path / name, (2, 3, 3))
    assert name in str(caught.value)


def test_a_gzip_bomb_is_unpacked_no_further_than_needed(tmp_path):
    path = tmp_path / "bomb.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(idx_bytes(GOOD))
        for _ in range(256):
            file.write(bytes(2**20))
    tracemalloc.start()
    with pytest.raises(DatasetError, match="holds more"):
        read_idx(path, (2, 3, 3))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**22
