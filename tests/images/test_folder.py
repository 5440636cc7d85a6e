import os
from pathlib import Path

import pytest
from PIL import Image

from activeindex.errors import InputError
from activeindex.images.folder import fingerprint, list_images, other_files


def put(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (12, 12)).save(folder / name, format="PNG")


def listed(folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in list_images(folder)]


def test_images_come_in_the_order_of_their_relative_path(tmp_path: Path) -> None:
    put(tmp_path, "b/2.png", "b.png", "a/z/1.jpg", "a/c.png", "Z.png", "b/10.png")
    assert listed(tmp_path) == ["Z.png", "a/c.png", "a/z/1.jpg", "b.png", "b/10.png", "b/2.png"]


def test_every_extension_counts_in_any_case(tmp_path: Path) -> None:
    names = ["a.bmp", "b.GIF", "c.jpeg", "d.JPG", "e.Png", "f.tif", "g.tiff", "h.webp"]
    put(tmp_path, *names)
    assert listed(tmp_path) == names


def test_other_files_and_hidden_files_are_passed_over(tmp_path: Path) -> None:
    put(tmp_path, "a.png", ".b.png", ".hidden/c.png", "notes.txt", "noextension")
    assert listed(tmp_path) == ["a.png"]


def test_a_folder_named_like_an_image_is_a_folder(tmp_path: Path) -> None:
    put(tmp_path, "a.png", "album.jpg/b.png")
    (tmp_path / "empty.png").mkdir()
    assert listed(tmp_path) == ["a.png", "album.jpg/b.png"]


@pytest.mark.parametrize("name", [b"caf\xe9.png", b"two\nlines.png", b"line\r.png"])
def test_every_name_that_the_file_system_holds_is_listed(tmp_path: Path, name: bytes) -> None:
    put(tmp_path, "a.png", "sub/b.png")
    path = tmp_path / "sub" / os.fsdecode(name)
    Image.new("RGB", (12, 12)).save(path)
    assert path in list_images(tmp_path)
    assert fingerprint(tmp_path, [path]) != fingerprint(tmp_path, [tmp_path / "a.png"])


def test_linked_images_count_under_the_name_of_the_link(tmp_path: Path) -> None:
    put(tmp_path, "elsewhere/real.png")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "link.png").symlink_to(tmp_path / "elsewhere" / "real.png")
    assert listed(tmp_path / "data") == ["link.png"]


def test_a_linked_folder_is_not_entered_so_that_a_circle_ends(tmp_path: Path) -> None:
    put(tmp_path, "a/b.png")
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    assert listed(tmp_path) == ["a/b.png"]


def test_what_is_not_taken_for_an_image_can_be_told(tmp_path: Path) -> None:
    put(tmp_path, "a.png", ".b.png", "notes.txt", "sub/c.heic", "sub/d.jpg")
    (tmp_path / "linked").symlink_to(tmp_path / "sub")
    (tmp_path / "album.jpg").symlink_to(tmp_path / "sub")
    assert other_files(tmp_path) == ["album.jpg", "linked", "notes.txt", "sub/c.heic"]
    assert listed(tmp_path) == ["a.png", "sub/d.jpg"]


def test_the_folder_itself_may_be_a_link(tmp_path: Path) -> None:
    put(tmp_path, "real/a.png")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert listed(tmp_path / "link") == ["a.png"]


def test_a_folder_without_images_is_refused_with_the_option(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=rf"^references {tmp_path}: expected images \(.*\.jpg"):
        list_images(tmp_path, "references")
    with pytest.raises(InputError, match=r"^data_dir .*nowhere: expected a folder, found nothing$"):
        list_images(tmp_path / "nowhere")


def test_the_fingerprint_tells_added_removed_renamed_and_rewritten_files(tmp_path: Path) -> None:
    def now() -> str:
        return fingerprint(tmp_path, list_images(tmp_path))

    put(tmp_path, "a.png", "b.png")
    seen = [now()]
    assert now() == seen[0]
    put(tmp_path, "c.png")
    seen.append(now())
    (tmp_path / "b.png").rename(tmp_path / "d.png")
    seen.append(now())
    os.utime(tmp_path / "d.png", ns=(0, 1))
    seen.append(now())
    (tmp_path / "d.png").write_bytes(b"longer" * 100)
    os.utime(tmp_path / "d.png", ns=(0, 1))
    seen.append(now())
    (tmp_path / "d.png").unlink()
    seen.append(now())
    assert len(set(seen)) == len(seen)


def test_a_broken_link_has_a_fingerprint_too(tmp_path: Path) -> None:
    (tmp_path / "a.png").symlink_to(tmp_path / "gone")
    broken = fingerprint(tmp_path, [tmp_path / "a.png"])
    put(tmp_path, "gone")
    assert fingerprint(tmp_path, [tmp_path / "a.png"]) != broken
