"""A user's own images: folders of pictures and NumPy archives."""

from __future__ import annotations

import contextlib
import io
import os
import pickle
import struct
import zipfile
import zlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ganbench.datasets import DatasetError, arrays, prepared, user_images
from ganbench.datasets.folder import Folder
from ganbench.datasets.npz import Archive
from ganbench.datasets.user_images import Options, parse, square


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr("platformdirs.user_cache_dir", lambda name: str(tmp_path / "cache" / name))
    return tmp_path / "cache" / "ganbench" / "prepared"


def picture(seed, size=(12, 12), mode="RGB"):
    rng = np.random.default_rng(seed)
    shape = (size[1], size[0], 3) if mode == "RGB" else (size[1], size[0])
    return Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8))


def photos(root, n=30, classes=("",), **kind):
    for i in range(n):
        folder = root / classes[i % len(classes)]
        folder.mkdir(parents=True, exist_ok=True)
        picture(i, **kind).save(folder / f"{i}.png")
    return root


def asked(path, family=None):
    return (family or Folder()).member(f"{(family or Folder()).name}:{path}")


def both(dataset):
    (train, labels), (test, more) = (dataset.load(split) for split in ("train", "test"))
    return np.concatenate([train, test]), None if labels is None else np.concatenate([labels, more])


def as_set(images):
    return Counter(image.tobytes() for image in images)


def test_a_folder_becomes_a_dataset(tmp_path):
    dataset = asked(photos(tmp_path / "mine"))
    assert dataset.shape == (3, 12, 12) and dataset.classes is None and dataset.primary == "fid"
    (train, none), (test, _) = (dataset.load(split) for split in ("train", "test"))
    assert none is None and train.dtype == np.uint8
    assert (len(train), len(test)) == (20, 10)  # a fifth would be fewer than ten
    expected = np.stack([np.asarray(picture(i)).transpose(2, 0, 1) for i in range(30)])
    assert as_set(np.concatenate([train, test])) == as_set(expected)
    assert dataset.notes == [
        f"folder:{tmp_path / 'mine'} is {dataset.name}: 20 training and 10 held-out images of 3x12x12, no classes"
    ]


def test_its_name_is_that_of_its_content(tmp_path, cache):
    first = asked(photos(tmp_path / "one"))
    assert asked(photos(tmp_path / "two")).name == first.name  # elsewhere
    (tmp_path / "one" / "0.png").rename(tmp_path / "one" / "zero.png")
    moved = asked((tmp_path / "one").rename(tmp_path / "three"))
    assert moved.name == first.name and (moved.load("test")[0] == first.load("test")[0]).all()
    picture(99).save(tmp_path / "three" / "zero.png")
    other = asked(tmp_path / "three")
    assert other.name != first.name
    # Both can be had by name alone, without the folder.
    for path in (tmp_path / "two", tmp_path / "three"):
        for file in path.iterdir():
            file.unlink()
    assert (Folder().member(first.name).load("train")[0] == first.load("train")[0]).all()
    assert as_set(both(Folder().member(other.name))[0]) != as_set(both(first)[0])
    with pytest.raises(DatasetError, match="is not in this machine's cache folder; ask for folder:PATH"):
        Folder().member("folder-00000000")
    assert Folder().member("folder-spiral") is None and Folder().member("npz-00000000") is None


def test_images_are_decoded_once(tmp_path, monkeypatch):
    path = photos(tmp_path / "mine")
    name = asked(path).name
    monkeypatch.setattr(Folder, "read", None)
    assert asked(path).name == name
    assert asked(f"{tmp_path}/mine/").name == name


def test_a_relative_path_and_the_home_folder(tmp_path, monkeypatch):
    name = asked(photos(tmp_path / "mine")).name
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert asked("mine").name == asked("./mine").name == asked("~/mine").name == name


def test_the_order_of_the_file_system_does_not_matter(tmp_path, monkeypatch):
    path = photos(tmp_path / "mine", classes=("b", "a"))
    before = asked(path)
    walk = os.walk
    monkeypatch.setattr(os, "walk", lambda *a, **k: ((p, d, f[::-1]) for p, d, f in reversed(list(walk(*a, **k)))))
    found = Folder().read(path, Options())
    splits = prepared.split(found.images.transpose(0, 3, 1, 2), found.labels, 0.2, 0)
    assert (splits["train"][0] == before.load("train")[0]).all()


def test_a_damaged_file_in_the_cache_is_noticed(tmp_path, cache):
    path = photos(tmp_path / "mine")
    dataset = asked(path)
    data = bytearray(dataset.path.read_bytes())
    data[-1] ^= 1
    dataset.path.write_bytes(data)
    with pytest.raises(DatasetError, match="is damaged: remove it"):
        both(Folder().member(dataset.name))
    dataset.path.write_bytes(data[:100])
    with pytest.raises(DatasetError, match="is damaged"):
        asked(path)
    dataset.path.unlink()
    both(asked(path))
    assert {file.suffix for file in cache.iterdir()} == {".json", ".safetensors"}


@pytest.mark.parametrize(
    ("held_out", "sizes"), [("", (80, 20)), ("@held-out=0.5", (50, 50)), ("@held-out=0.999", (10, 90))]
)
def test_the_held_out_share(tmp_path, held_out, sizes):
    path = photos(tmp_path / "mine", n=100, classes=("a", "b"), size=(8, 8))
    dataset = asked(f"{path}{held_out}")
    (train, labels), (test, more) = (dataset.load(split) for split in ("train", "test"))
    assert (len(train), len(test)) == sizes
    assert not as_set(train) & as_set(test)
    assert np.bincount(more).tolist() == [sizes[1] // 2] * 2 and np.bincount(labels).tolist() == [sizes[0] // 2] * 2


def test_the_seed_decides_which_images_are_held_out(tmp_path):
    path = photos(tmp_path / "mine")
    zero, one = asked(path), asked(f"{path}@seed=1")
    assert as_set(both(zero)[0]) == as_set(both(one)[0])
    assert as_set(zero.load("test")[0]) != as_set(one.load("test")[0]) and zero.name != one.name


def test_sub_folders_are_classes(tmp_path):
    path = photos(tmp_path / "mine", classes=("dogs", "cats/young", "ants"))
    dataset = asked(path)
    assert dataset.classes == 3 and "3 classes (ants, cats, dogs)" in dataset.notes[0]
    label = {np.asarray(picture(i)).transpose(2, 0, 1).tobytes(): (2, 1, 0)[i % 3] for i in range(30)}
    images, labels = both(dataset)
    assert labels.dtype == np.int64 and [label[image.tobytes()] for image in images] == labels.tolist()
    assert asked(f"{path}@unlabelled").classes is None
    picture(77).save(path / "stray.png")
    assert asked(path).classes is None
    assert asked(photos(tmp_path / "one", classes=("only",))).classes is None


@pytest.mark.parametrize(
    ("folders", "classes", "told"),
    [
        (("train/cat", "train/dog", "test/cat"), "2 classes (cat, dog)", "classes: test, train;"),
        (("Train/cat", "val/dog"), "2 classes (cat, dog)", "classes: Train, val;"),
        (("train/cat", "train/dog"), "2 classes (cat, dog)", None),
        (("train", "test"), "no classes", "classes: test, train;"),
        (("train/cat", "test/cat"), "no classes", "classes: test, train;"),
        (("train", "bus"), "2 classes (bus, train)", None),  # a class of that name beside another
        (("training/cat", "cat/training"), "2 classes (cat, training)", None),
    ],
)
def test_sub_folders_that_are_published_splits_are_no_classes(tmp_path, folders, classes, told):
    dataset = asked(photos(tmp_path / "mine", classes=folders))
    assert classes in dataset.notes[0] and len(both(dataset)[0]) == 30
    assert [note for note in dataset.notes if "taken for splits" in note] == dataset.notes[1:]
    assert (told is None) == (len(dataset.notes) == 1)
    assert told is None or (
        told in dataset.notes[1] and f"folder:mine/{sorted(folders)[-1].split('/')[0]}" in dataset.notes[1]
    )


@pytest.mark.parametrize(
    ("sizes", "option", "shape"),
    [
        ([(8, 8)], "", (8, 8)),
        ([(64, 64)], "", (64, 64)),
        ([(70, 70)], "", (32, 32)),
        ([(16, 12)], "", (32, 32)),
        ([(12, 12), (16, 16)], "", (32, 32)),
        ([(12, 12), (30, 20)], "@size=20", (20, 20)),
    ],
)
def test_the_size(tmp_path, sizes, option, shape):
    for i in range(20):
        (tmp_path / "mine").mkdir(exist_ok=True)
        picture(i, size=sizes[i % len(sizes)]).save(tmp_path / "mine" / f"{i}.png")
    assert asked(f"{tmp_path / 'mine'}{option}").shape == (3, *shape)


def test_resizing_is_anti_aliased_and_keeps_the_middle():
    # Stripes of one pixel shrunk to a quarter: without anti-aliasing they would be black or white.
    stripes = np.zeros((64, 64), np.uint8)
    stripes[:, ::2] = 255
    small = square(Image.fromarray(stripes), 16, grey=False)
    assert small.shape == (16, 16, 3) and np.abs(small[:, 2:-2].astype(int) - 127).max() < 12
    wide = np.zeros((20, 60, 3), np.uint8)
    wide[:, 20:40] = (200, 100, 50)
    assert (square(Image.fromarray(wide), 20, grey=False) == (200, 100, 50)).all()


def test_grey_images_have_one_channel(tmp_path):
    assert asked(photos(tmp_path / "grey", mode="L")).shape == (1, 12, 12)
    lossy = tmp_path / "lossy"
    lossy.mkdir()
    for i in range(20):
        picture(i, mode="L").save(lossy / f"{i}.{('jpg', 'webp')[i % 2]}")
    assert asked(lossy).shape == (1, 12, 12)
    assert asked(photos(tmp_path / "colour")).shape == (3, 12, 12)
    assert asked(f"{tmp_path / 'colour'}@grey").shape == (1, 12, 12)


def test_modes_of_pictures():
    deep = Image.fromarray((np.arange(256, dtype=np.uint16) * 257).reshape(16, 16))
    assert (square(deep, 16, False)[..., 0] == np.arange(256).reshape(16, 16)).all()
    clear = Image.new("RGBA", (8, 8), (10, 20, 30, 0))
    assert (square(clear, 8, False) == 255).all()  # what is transparent is white, whatever colour hides there
    assert (square(Image.new("P", (8, 8), 0), 8, False)[..., 0] == 0).all()
    assert (square(Image.new("CMYK", (8, 8), (0, 0, 0, 0)), 8, False) == 255).all()
    turned = io.BytesIO()
    half = np.zeros((8, 8), np.uint8)
    half[:4] = 255
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    Image.fromarray(half).save(turned, "PNG", exif=exif)
    assert square(Image.open(turned), 8, False)[:4].max() == 0


@pytest.mark.parametrize("suffix", ["png", "jpg", "JPEG", "webp", "bmp", "gif"])
def test_kinds_of_files(tmp_path, suffix):
    path = photos(tmp_path / "mine", n=19)
    picture(50).save(path / f"x.{suffix}")
    assert len(both(asked(path))[0]) == 20


def test_the_first_frame_of_an_animation(tmp_path):
    path = photos(tmp_path / "mine", n=19, mode="L")
    red, blue = (Image.new("RGB", (12, 12), colour) for colour in ("red", "blue"))
    red.save(path / "x.gif", save_all=True, append_images=[blue])
    images, _ = both(asked(path))
    assert any((image[0] > 200).all() and (image[2] < 50).all() for image in images)


def test_other_and_hidden_files_are_passed_over(tmp_path):
    path = photos(tmp_path / "mine")
    (path / "notes.txt").write_text("none")
    (path / ".hidden.png").write_text("none")
    photos(path / ".thumbnails")
    assert len(both(asked(path))[0]) == 30


def bomb():
    """A PNG that declares 30,000 x 30,000 pixels."""
    header = struct.pack(">2I5B", 30_000, 30_000, 1, 0, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(bytes(2**20))), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 12 12\n%%EndComments\nshowpage\n"


def make_unreadable(path):
    """One file of each kind that cannot be read, and a part of the reason that is given for it."""
    good = io.BytesIO()
    picture(3).save(good, "PNG")
    files = {
        "bomb.png": (bomb(), "decompression bomb"),
        "cut.png": (good.getvalue()[:200], ""),
        "empty.jpg": (b"", "not an image"),
        "post.png": (POSTSCRIPT, "not an image"),  # Pillow would hand it to Ghostscript
        "text.gif": (b"none", "not an image"),
    }
    for name, (data, _) in files.items():
        (path / name).write_bytes(data)
    outside = path.parent / "outside"
    outside.mkdir()
    picture(1).save(outside / "secret.png")
    (path / "link.png").symlink_to(outside / "secret.png")
    (path / "linked").symlink_to(outside)
    (path / "loop.png").symlink_to("loop.png")
    os.mkfifo(path / "pipe.png")
    return {name: reason for name, (_, reason) in files.items()} | {
        "link.png": "a link that leads out of the folder",
        "linked": "a link that leads out of the folder",
        "loop.png": "",
        "pipe.png": "not a plain file",
    }


def test_unreadable_files_are_named_and_counted(tmp_path):
    path = photos(tmp_path / "mine")
    expected = make_unreadable(path)
    with pytest.raises(DatasetError) as caught:
        asked(path)
    message = str(caught.value)
    assert f"{len(expected)} of {30 + len(expected)} files cannot be read" in message
    assert f"and {len(expected) - 5} more" in message and "@skip-unreadable" in message
    for name in sorted(expected)[:5]:
        assert f"{name} (" in message and expected[name] in message
    assert str(tmp_path / "outside") not in message


@pytest.mark.parametrize("name", ["bomb.png", "cut.png", "empty.jpg", "post.png", "link.png", "linked", "pipe.png"])
def test_each_reason(tmp_path, name):
    path = photos(tmp_path / "mine")
    expected = make_unreadable(path)
    for other in expected.keys() - {name}:
        (path / other).unlink()
    with pytest.raises(DatasetError) as caught:
        asked(path)
    assert f"1 of 31 files cannot be read: {name} (" in str(caught.value) and expected[name] in str(caught.value)


def test_unreadable_files_are_left_out_on_request(tmp_path):
    path = photos(tmp_path / "mine")
    make_unreadable(path)
    for _ in range(2):  # from the folder, and from the cache
        dataset = asked(f"{path}@skip-unreadable")
        assert as_set(both(dataset)[0]) == as_set(both(asked(photos(tmp_path / "good")))[0])
        assert dataset.notes[1].startswith("left out: 9 of 39 files cannot be read: bomb.png (")


def test_a_link_within_the_folder_is_read(tmp_path):
    path = photos(tmp_path / "mine")
    (path / "again.png").symlink_to("0.png")
    assert len(both(asked(path))[0]) == 31


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nowhere", "there is no folder"),
        ("few", "there are 19 images; at least 20"),
        ("none", "there is no image in"),
        ("", "a path is missing"),
        ("few@size=7", "@size=7: expected 8 to 256"),
        ("few@size", "@size=: expected 8 to 256"),
        ("few@held-out=1", "@held-out=1: expected a share"),
        ("few@held-out=nan", "expected a share"),
        ("few@seed=-1", "@seed=-1: expected 0 or more"),
        ("few@grey=1", "@grey takes no value"),
        ("few@colour", "there is no option @colour; there are @size, @grey, @held-out, @seed, @unlabelled"),
    ],
)
def test_what_cannot_be_done_is_said(tmp_path, monkeypatch, text, message):
    photos(tmp_path / "few", n=19)
    (tmp_path / "none").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DatasetError) as caught:
        asked(text)
    assert str(caught.value).startswith(f"folder:{text}: ") and message in str(caught.value)


def test_options_stand_behind_the_path():
    assert parse("a/b") == ("a/b", Options())
    assert parse("a@size=64@grey@held-out=0.5@seed=3@unlabelled@skip-unreadable") == (
        "a",
        Options(size=64, grey=True, held_out=0.5, seed=3, unlabelled=True, skip_unreadable=True),
    )
    assert parse("me@home/x@2")[0] == "me@home/x@2" and parse("photos@home/")[0] == "photos@home/"
    assert parse("C:/photos@size=8") == ("C:/photos", Options(size=8))


def test_a_family_by_itself_is_no_dataset():
    with pytest.raises(DatasetError, match="folder needs a path: folder:PATH"):
        Folder().load("train")


# --- npz


IMAGES = np.random.default_rng(0).integers(0, 256, (30, 12, 12, 3), dtype=np.uint8)


def archive(tmp_path, **arrays):
    path = tmp_path / "mine.npz"
    np.savez_compressed(path, **arrays)
    return asked(path, Archive())


@pytest.mark.parametrize(
    ("name", "images", "shape"),
    [
        ("images", IMAGES, (3, 12, 12)),
        ("x", IMAGES.transpose(0, 3, 1, 2), (3, 12, 12)),
        ("arr_0", IMAGES[..., 0], (1, 12, 12)),
        ("images", IMAGES[..., :1], (1, 12, 12)),
        ("images", IMAGES[:, None, :, :, 0], (1, 12, 12)),
    ],
)
def test_layouts_of_an_archive(tmp_path, name, images, shape):
    dataset = archive(tmp_path, **{name: images})
    assert dataset.shape == shape and dataset.name.startswith("npz-") and dataset.classes is None
    expected = IMAGES.transpose(0, 3, 1, 2)[:, : shape[0]]
    assert as_set(both(dataset)[0]) == as_set(np.ascontiguousarray(expected))
    assert Archive().member(dataset.name).shape == shape


@pytest.mark.parametrize("name", ["labels", "y"])
def test_labels_of_an_archive(tmp_path, name):
    values = np.arange(30) % 3 * 10 + 5
    dataset = archive(tmp_path, images=IMAGES, **{name: values[:, None].astype(np.uint8)})
    label = {image.tobytes(): i % 3 for i, image in enumerate(np.ascontiguousarray(IMAGES.transpose(0, 3, 1, 2)))}
    images, labels = both(dataset)
    assert dataset.classes == 3 and [label[image.tobytes()] for image in images] == labels.tolist()
    assert "3 classes (5, 15, 25)" in dataset.notes[0]
    assert asked(f"{tmp_path / 'mine.npz'}@unlabelled", Archive()).classes is None


def test_an_archive_is_resized_like_a_folder(tmp_path):
    dataset = archive(tmp_path, images=np.repeat(np.repeat(IMAGES, 8, axis=1), 8, axis=2))
    assert dataset.shape == (3, 32, 32)
    assert asked(f"{tmp_path / 'mine.npz'}@size=12", Archive()).shape == (3, 12, 12)


class Evil:
    def __reduce__(self):
        return os.mkdir, ("PWNED",)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"pictures": IMAGES}, "has no array named images, x, arr_0; it holds pictures"),
        ({"images": IMAGES.astype(np.float32)}, "expected uint8"),
        ({"images": IMAGES[0, 0]}, "expected uint8 of shape"),
        ({"images": np.zeros((30, 12, 12, 4), np.uint8)}, "expected 1 or 3"),
        ({"images": np.zeros((30, 3, 12, 3), np.uint8)}, "channels could be first or last"),
        ({"images": IMAGES, "labels": np.zeros(29, int)}, "expected 30 integers"),
        ({"images": IMAGES, "labels": np.zeros(30)}, "expected 30 integers"),
        ({"images": IMAGES[:19]}, "there are 19 images"),
        ({"images": np.array([Evil()] * 30)}, "holds objects"),
    ],
)
def test_an_archive_that_does_not_fit_is_refused(tmp_path, monkeypatch, arrays, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DatasetError, match=message):
        archive(tmp_path, **arrays)
    assert not (tmp_path / "PWNED").exists()


def damaged_archives():
    packed = io.BytesIO()
    np.savez_compressed(packed, images=IMAGES)
    data = packed.getvalue()
    changed = bytearray(data)
    changed[len(data) // 2] ^= 255
    plain, liar = io.BytesIO(), io.BytesIO()
    np.save(plain, IMAGES)
    header = plain.getvalue().replace(b"(30, 12, 12, 3)", b"(9999999999,3,3)"[:15].ljust(15))
    with zipfile.ZipFile(liar, "w") as file:
        file.writestr("images.npy", header.replace(b"(30, 12, 12, 3)", b"(3000000, 12, 3)"[:15]))
    return {
        "text": b"none",
        "cut": data[: len(data) // 2],
        "changed": bytes(changed),
        "npy": plain.getvalue(),
        "pickle": pickle.dumps(Evil()),
        "liar": liar.getvalue(),
    }


@pytest.mark.parametrize("name", damaged_archives())
def test_a_damaged_archive_is_refused(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.npz").write_bytes(damaged_archives()[name])
    with pytest.raises(DatasetError, match=r"mine\.npz"):
        asked(tmp_path / "mine.npz", Archive())
    assert not (tmp_path / "PWNED").exists()


def test_an_archive_that_is_not_there(tmp_path):
    with pytest.raises(DatasetError, match="No such file"):
        asked(tmp_path / "mine.npz", Archive())


def test_names_say_which_family_they_are_of(tmp_path):
    same = np.ascontiguousarray(np.stack([np.asarray(picture(i)) for i in range(30)]))
    folder, npz = asked(photos(tmp_path / "mine")), archive(tmp_path, images=same)
    assert folder.name.partition("-")[2] == npz.name.partition("-")[2]  # the same content
    assert isinstance(npz, prepared.Prepared) and user_images.USUAL_SIDE == 32
    assert Path(npz.path).parent == Path(folder.path).parent


def test_folders_of_the_same_names_sizes_and_times_are_told_apart(tmp_path):
    for name, level in (("cats", 60), ("cars", 190)):
        (tmp_path / name).mkdir()
        for i in range(20):
            path = tmp_path / name / f"{i}.bmp"
            Image.fromarray(np.full((8, 8, 3), level + i, np.uint8)).save(path)
            os.utime(path, (0, 0))
    cats, cars = (asked(tmp_path / name) for name in ("cats", "cars"))
    assert cats.name != cars.name and both(cats)[0].max() < both(cars)[0].min()


def test_a_file_edited_in_place_with_its_time_kept_is_noticed(tmp_path):
    path = photos(tmp_path / "mine", n=20, size=(8, 8))
    Image.fromarray(np.full((8, 8, 3), 7, np.uint8)).save(path / "x.bmp")
    before, about = asked(path), (path / "x.bmp").stat()
    Image.fromarray(np.full((8, 8, 3), 9, np.uint8)).save(path / "x.bmp")
    os.utime(path / "x.bmp", ns=(about.st_atime_ns, about.st_mtime_ns))
    assert (path / "x.bmp").stat().st_size == about.st_size
    assert asked(path).name != before.name


def test_a_link_whose_target_changes_is_noticed(tmp_path):
    path = photos(tmp_path / "mine")
    (path / ".store").mkdir()
    for name, seed in (("one", 70), ("two", 71)):
        picture(seed).save(path / ".store" / f"{name}.png")
    (path / "link.png").symlink_to(".store/one.png")
    before = asked(path)
    (path / "link.png").unlink()
    (path / "link.png").symlink_to(".store/two.png")
    assert asked(path).name != before.name and len(both(before)[0]) == 31


def test_files_that_change_while_they_are_read_are_noticed(tmp_path, monkeypatch):
    path = photos(tmp_path / "mine")
    read = Folder.read

    def slow(self, *args):
        found = read(self, *args)
        picture(99).save(path / "0.png")
        return found

    monkeypatch.setattr(Folder, "read", slow)
    with pytest.raises(DatasetError, match="changed while they were read"):
        asked(path)


@pytest.mark.parametrize(
    ("suffix", "kind"),
    [
        ("jfif", "JPEG"),
        ("jpe", "JPEG"),
        ("pjpeg", "JPEG"),
        ("apng", "PNG"),
        ("TIF", "TIFF"),
        ("tiff", "TIFF"),
        ("", "PNG"),
    ],
)
def test_pictures_of_every_suffix_are_read(tmp_path, suffix, kind):
    path = photos(tmp_path / "mine", n=19)
    picture(50).save(path / (f"x.{suffix}" if suffix else "x"), kind)
    assert len(both(asked(path))[0]) == 20


def test_what_is_left_out_is_counted_and_named_also_from_the_cache(tmp_path):
    path = photos(tmp_path / "mine", classes=("a", "b"))
    picture(1).save(path / "a" / "0.png.bak", "PNG")
    (path / "labels.csv").write_text("x,y")
    (path / "Thumbs.db").write_bytes(b"\xff\xd8\xff none of anybody's business")
    (path / "@eaDir" / "0.png").mkdir(parents=True)
    picture(2).save(path / "@eaDir" / "0.png" / "SYNOPHOTO_THUMB_M.jpg")
    (path / "a" / "._0.png").write_bytes(b"\0\5\x16\7 a resource fork")
    for _ in range(2):
        dataset = asked(path)
        assert len(both(dataset)[0]) == 30 and dataset.classes == 2
        assert dataset.notes[1] == (
            "left out: 1 picture in hidden places or thumbnails of a system (@eaDir/0.png/SYNOPHOTO_THUMB_M.jpg); "
            "1 picture under a suffix of something else (a/0.png.bak); 1 other file (labels.csv)"
        )
    (path / "b" / "x.heic").write_bytes(b"\0\0\0\x18ftypheic")
    assert "2 other files (b/x.heic, labels.csv)" in asked(path).notes[1] and asked(path).name == dataset.name


def test_several_frames_and_names_that_differ_in_case_are_said(tmp_path):
    path = photos(tmp_path / "mine", n=19)
    red, blue = (Image.new("RGB", (12, 12), colour) for colour in ("red", "blue"))
    red.save(path / "x.tif", save_all=True, append_images=[blue])
    picture(60).save(path / "X.tif")
    notes = asked(path).notes
    assert any("the first frame or page alone read of 1 picture (x.tif)" in note for note in notes)
    assert any("2 names (X.tif, x.tif) differ in upper and lower case alone" in note for note in notes)


def test_an_orientation_in_tiff_is_applied_once(tmp_path):
    half = np.zeros((8, 8), np.uint8)
    half[:4] = 255
    exif = Image.Exif()
    exif[0x0112] = 3
    Image.fromarray(half).save(tmp_path / "x.tif", exif=exif)
    with Image.open(tmp_path / "x.tif") as image:
        assert square(image, 8, False)[:4].max() == 0


def test_an_archive_that_packs_a_thousand_to_one_is_read(tmp_path, monkeypatch):
    collapsed = np.zeros((40_000, 32, 64), np.uint8)
    collapsed[0, 0] = 9
    np.savez_compressed(tmp_path / "packed.npz", collapsed)
    assert (tmp_path / "packed.npz").stat().st_size * 500 < collapsed.nbytes > 2**26
    with arrays.npz(tmp_path / "packed.npz") as (names, take):
        assert names == ["arr_0"] and (take("arr_0") == collapsed).all()
    monkeypatch.setattr(arrays, "installed", lambda: 2 * 80_000_000)
    with (
        arrays.npz(tmp_path / "packed.npz") as (_, take),
        pytest.raises(DatasetError, match=r"more than 80,000,000.*numpy\.save"),
    ):
        take("arr_0")


@pytest.mark.parametrize(
    ("name", "fine"),
    [
        ("a\\b.png", True),
        ("a/b:c.png", True),
        ("t:1.png", True),
        ("a\\..\\..\\b", False),
        ("C:/b", False),
        ("c:\\b", False),
        ("\\\\host\\b", False),
    ],
)
def test_names_in_archives(tmp_path, name, fine):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as file:
        file.writestr(zipfile.ZipInfo(name), b"x")
    with zipfile.ZipFile(tmp_path / "x.zip") as file, contextlib.nullcontext() if fine else pytest.raises(DatasetError):
        assert len(list(arrays.checked(tmp_path / "x.zip", file))) == 1
