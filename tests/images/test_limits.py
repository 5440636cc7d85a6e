"""What is no picture, or too large for one, is refused in one line before it costs anything."""

import os
import resource
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, JpegImagePlugin

from activeindex.errors import InputError, UnreadableImageError
from activeindex.extractors.features import ExtractionJob
from activeindex.images import limits
from activeindex.images.coerce import as_pictures
from activeindex.images.decoding import read_rgb
from activeindex.images.folder import list_images
from activeindex.images.levels import Pixels
from activeindex.images.limits import max_pixels, set_max_pixels
from activeindex.images.picture import read_picture
from tests.images.samples import png_chunk


@pytest.fixture(autouse=True)
def _limit() -> Iterator[None]:
    before = max_pixels()
    yield
    set_max_pixels(before)


def claiming(width: int, height: int) -> dict[str, bytes]:
    """Files of a few bytes whose headers claim a size."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    size, short = struct.pack("<HH", width, height), struct.pack(">HH", height, width)
    entries = [(256, 4, width), (257, 4, height), (258, 3, 8), (259, 3, 1), (262, 3, 1)]
    entries += [(273, 4, 8), (277, 3, 1), (278, 4, height), (279, 4, width * height)]
    table = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in entries)
    return {
        "a.png": b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + png_chunk(b"IDAT", bytes(9)),
        "a.gif": b"GIF89a" + size + b"\0\0\0\x2c\0\0\0\0" + size + b"\0\2\2\x4c\1\0\x3b",
        "a.bmp": b"BM"
        + struct.pack("<IIIIiiHHIIiiII", 0, 0, 54, 40, width, height, 1, 24, *[0] * 6),
        "a.jpg": b"\xff\xd8\xff\xc0\0\x11\x08"
        + short
        + b"\3\1\x11\0\2\x11\0\3\x11\0\xff\xda\0\x0c\3\1\0\2\0\3\0\0\x3f\0",
        "a.ppm": b"P6 %d %d 255\n" % (width, height),
        "a.tif": b"II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + table + bytes(4),
    }


@pytest.mark.parametrize("name", claiming(1, 1))
def test_a_header_that_claims_too_much_is_refused_at_once(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(claiming(60_000, 2_000)[name])
    start, before = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(UnreadableImageError) as caught:
        read_rgb(tmp_path / name)
    assert str(caught.value) == (
        f"{tmp_path / name}: expected an image of at most 64,000,000 pixels, found 60000x2000 "
        "(120,000,000); raise the limit with --max_pixels or set_max_pixels"
    )
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000  # Kilobytes.
    assert time.monotonic() - start < 5


def test_the_largest_size_of_all_is_refused_by_pillow(tmp_path: Path) -> None:
    set_max_pixels(limits.LARGEST_MAX_PIXELS)
    (tmp_path / "a.png").write_bytes(claiming(65535, 65535)["a.png"])
    with pytest.raises(UnreadableImageError, match=r"a\.png: the image cannot be decoded \("):
        read_rgb(tmp_path / "a.png")


def test_the_limit_counts_pixels_and_can_be_set(tmp_path: Path) -> None:
    Image.new("RGB", (40, 25)).save(tmp_path / "a.png")
    read_rgb(tmp_path / "a.png", most=1000)
    set_max_pixels(999)
    for read in (read_rgb, read_picture, as_pictures):
        with pytest.raises(InputError, match=r"at most 999 pixels, found 40x25 \(1,000\); raise"):
            read(tmp_path / "a.png")
    for image in (Image.new("RGB", (40, 25)), np.zeros((25, 40, 3))):
        with pytest.raises(InputError, match=r"^image 0: expected an image of at most 999 pixels"):
            as_pictures(image)
    with Image.open(tmp_path / "a.png") as image, pytest.raises(InputError, match="at most 999"):
        as_pictures(image)
    set_max_pixels(1000)
    assert read_rgb(tmp_path / "a.png").size == (40, 25)


def test_jobs_carry_the_limit_to_workers() -> None:
    set_max_pixels(777)
    assert ExtractionJob(extractor=None).max_pixels == 777  # type: ignore[arg-type]


@pytest.mark.parametrize("pixels", [0, -1, 178_956_971, 1.5, True, "all", None])
def test_a_limit_out_of_range_is_refused(pixels: int) -> None:
    with pytest.raises(InputError, match=r"^max_pixels: expected "):
        set_max_pixels(pixels)


def _named_pipe(path: Path) -> None:
    os.mkfifo(path)


def _link_to_itself(path: Path) -> None:
    path.symlink_to(path.name)


def _socket(path: Path) -> None:
    os.chdir(path.parent)  # Names of sockets are short.
    socket.socket(socket.AF_UNIX).bind(path.name)


def _folder(path: Path) -> None:
    path.mkdir()


def _device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def _dangling(path: Path) -> None:
    path.symlink_to("nowhere")


def _empty(path: Path) -> None:
    path.touch()


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (_named_pipe, r"the image cannot be decoded \(a named pipe\)"),
        (_link_to_itself, r"the image cannot be decoded \(Too many levels of symbolic links\)"),
        (_socket, r"the image cannot be decoded \(a socket\)"),
        (_folder, r"the image cannot be decoded \(a folder\)"),
        (_device, r"the image cannot be decoded \(a device\)"),
        (_dangling, "expected an image, found nothing"),
        (_empty, "expected an image, found another format"),
    ],
)
def test_what_is_no_regular_file_is_refused_by_its_kind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path], None], reason: str
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "a.jpg"
    make(path)
    for read in (read_rgb, read_picture):
        with pytest.raises(UnreadableImageError, match=rf"a\.jpg: {reason}$"):
            read(path)
    if not path.is_dir():
        assert list_images(tmp_path) == [path]
        with pytest.raises(UnreadableImageError, match=reason):
            as_pictures(tmp_path)


@pytest.mark.parametrize("name", ["a\0b.png", "a" * 300 + ".png"])
def test_a_name_that_no_file_can_have_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UnreadableImageError, match=r"the image cannot be decoded \("):
        read_rgb(tmp_path / name)


def test_a_file_without_permission_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.new("RGB", (20, 20)).save(tmp_path / "a.png")

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(UnreadableImageError, match=r"a\.png: .* \(Permission denied\)$"):
        read_rgb(tmp_path / "a.png")


@pytest.mark.parametrize(
    "error",
    [SyntaxError("x\ny"), struct.error("x"), MemoryError(), RecursionError("x"), KeyError("x")],
)
def test_whatever_pillow_raises_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    Image.new("RGB", (20, 20)).save(tmp_path / "a.jpg")

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(JpegImagePlugin.JpegImageFile, "load", fail)
    with pytest.raises(UnreadableImageError, match=r"a\.jpg: the image cannot be d.*\)$") as caught:
        read_picture(tmp_path / "a.jpg")
    assert "\n" not in str(caught.value)


def test_truncated_files_are_refused_without_another_word(
    tmp_path: Path, photographs: dict[str, Pixels], capfd: pytest.CaptureFixture[str]
) -> None:
    photograph = Image.fromarray(photographs["coffee"][:200, :200])
    photograph.save(tmp_path / "a.tiff", compression="tiff_lzw")  # libtiff reads it.
    suffixes = ("jpg", "png", "gif", "webp", "tif", "tiff", "bmp", "ppm", "avif", "jp2")
    for name in (f"a.{suffix}" for suffix in suffixes):
        if not (tmp_path / name).exists():
            photograph.save(tmp_path / name)
        data = (tmp_path / name).read_bytes()
        for part in (len(data) * 2 // 3, len(data) // 10, 20):
            (tmp_path / name).write_bytes(data[:part])
            with pytest.raises(UnreadableImageError, match=rf"{name}: .*"):
                read_rgb(tmp_path / name)
    assert capfd.readouterr() == ("", "")


def test_the_first_picture_of_an_mpo_file_is_taken(tmp_path: Path) -> None:
    first, second = Image.new("RGB", (20, 20), "red"), Image.new("RGB", (20, 20), "blue")
    first.save(tmp_path / "a.jpg", "MPO", save_all=True, append_images=[second], quality=95)
    with Image.open(tmp_path / "a.jpg") as image:
        assert image.format == "MPO"
    red, _, blue = np.asarray(read_rgb(tmp_path / "a.jpg"))[5, 5]
    assert red > 240
    assert blue < 15


def test_pillow_prints_nothing_and_runs_no_program(tmp_path: Path) -> None:
    """Pillow gives PostScript to Ghostscript, whatever the suffix of the file says."""
    tool = tmp_path / "gs"
    tool.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    tool.chmod(0o755)
    script = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 40 40\n%%EndComments\nshowpage\n"
    (tmp_path / "script.jpg").write_bytes(script)
    broken = b"Exif\0\0II*\0\xff\xff\xff\x7f"
    Image.new("RGB", (20, 20)).save(tmp_path / "exif.jpg", exif=broken)
    program = f"""
from pathlib import Path
from PIL import Image
from activeindex.errors import UnreadableImageError
from activeindex.images.picture import read_picture
Image.MAX_IMAGE_PIXELS = 300  # Pillow warns of more.
read_picture(Path({str(tmp_path)!r}, "exif.jpg"))
try:
    read_picture(Path({str(tmp_path)!r}, "script.jpg"))
except UnreadableImageError as error:
    print(error)
"""
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("script.jpg: expected an image, found another format\n")
    assert not (tmp_path / "ran").exists()
