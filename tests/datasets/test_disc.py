import os
from pathlib import Path

import filelock
import pytest

from activeindex.datasets.disc import PreparedDisc, prepare_disc
from activeindex.errors import ActiveIndexError, InputError
from activeindex.runtime.locking import LOCK_FILE
from activeindex.runtime.reporting import Progress
from tests.runtime.reporters import Showing

NAMES = ("references_10k", "references_990k", "queries_40k")


@pytest.fixture
def disc(tmp_path: Path) -> Path:
    """Ten training images, six references; R000001 and R000004 have a copy among the queries."""
    root = tmp_path / "disc"
    for folder, letter, count in (("train", "T", 10), ("references", "R", 6)):
        (root / folder).mkdir(parents=True)
        for number in range(count):
            (root / folder / f"{letter}{number:06d}.jpg").write_text(f"{letter}{number}")
    write_truth(root, "Q00000,R000004\nQ00001,\nQ00002,R000001\nQ00003,R000004\n")
    return root


def write_truth(disc: Path, text: str) -> None:
    (disc / "dev_queries_groundtruth.csv").write_text(text)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_references_are_split_by_the_ground_truth(disc: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    prepared = prepare_disc(disc, out, queries=4)
    assert names(out / "references_10k") == ["R000001.jpg", "R000004.jpg"]
    assert names(out / "references_990k") == [f"R00000{i}.jpg" for i in (0, 2, 3, 5)]
    assert [folder.count for folder in prepared] == [2, 4, 4]
    assert [folder.path for folder in prepared] == [out / name for name in NAMES]


def test_links_lead_to_the_images_from_anywhere(
    disc: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(disc.parent)
    prepare_disc(Path("disc"), Path("out"), queries=4)
    monkeypatch.chdir("/")
    for name in NAMES:
        for link in (tmp_path / "out" / name).iterdir():
            assert link.is_symlink()
            assert link.readlink().is_absolute()
            assert link.read_text() == f"{link.name[0]}{int(link.stem[1:])}"


def test_the_seed_decides_which_training_images_are_drawn(disc: Path, tmp_path: Path) -> None:
    drawn = []
    for number, seed in enumerate((0, 0, 1)):
        prepare_disc(disc, tmp_path / str(number), queries=5, seed=seed)
        drawn.append(names(tmp_path / str(number) / "queries_40k"))
    assert drawn[0] == drawn[1] != drawn[2]
    assert len(set(drawn[0])) == 5
    assert drawn[0] == ["T000000.jpg", "T000002.jpg", "T000004.jpg", "T000006.jpg", "T000009.jpg"]


def test_png_and_jpeg_in_any_case_are_images_and_the_rest_is_not(
    disc: Path, tmp_path: Path
) -> None:
    for name in ("R000006.PNG", "R000007.JPeg", "._R000000.jpg", "README.txt", "R000008"):
        (disc / "references" / name).touch()
    (disc / "references" / "folder.jpg").mkdir()
    write_truth(disc, "Q00000,R000006\n")
    prepare_disc(disc, tmp_path, queries=1)
    assert names(tmp_path / "references_10k") == ["R000006.PNG"]
    assert names(tmp_path / "references_990k")[-1] == "R000007.JPeg"
    assert len(names(tmp_path / "references_990k")) == 7


def test_a_second_run_keeps_everything(disc: Path) -> None:
    prepare_disc(disc, disc, queries=4)
    before = {link: link.lstat().st_ino for name in NAMES for link in (disc / name).iterdir()}
    prepared = prepare_disc(disc, disc, queries=4)
    assert all(folder.kept for folder in prepared)
    assert before == {
        link: link.lstat().st_ino for name in NAMES for link in (disc / name).iterdir()
    }


def test_links_of_another_number_are_replaced(disc: Path, tmp_path: Path) -> None:
    prepare_disc(disc, tmp_path, queries=8)
    prepared = prepare_disc(disc, tmp_path, queries=3)
    assert len(names(tmp_path / "queries_40k")) == 3
    assert [folder.kept for folder in prepared] == [True, True, False]
    assert names(tmp_path) == sorted([*NAMES, "disc"])


def test_links_into_another_copy_of_the_data_are_replaced(disc: Path, tmp_path: Path) -> None:
    prepare_disc(disc, tmp_path, queries=3)
    moved = disc.rename(tmp_path / "moved")
    prepare_disc(moved, tmp_path, queries=3)
    assert all(link.exists() for name in NAMES for link in (tmp_path / name).iterdir())


def test_a_real_file_in_the_way_is_never_deleted(disc: Path, tmp_path: Path) -> None:
    prepare_disc(disc, tmp_path, queries=3)
    precious = tmp_path / "queries_40k" / "holiday.jpg"
    precious.write_text("precious")
    with pytest.raises(InputError, match=r"holiday.jpg: .* not deleted"):
        prepare_disc(disc, tmp_path, queries=5)
    assert precious.read_text() == "precious"
    assert len(names(tmp_path / "queries_40k")) == 4


def test_nothing_is_written_when_one_part_is_in_the_way(disc: Path, tmp_path: Path) -> None:
    (tmp_path / "queries_40k").write_text("a file")
    with pytest.raises(InputError, match="queries_40k: expected nothing or a folder of links"):
        prepare_disc(disc, tmp_path, queries=3)
    assert names(tmp_path) == ["disc", "queries_40k"]


def test_what_a_killed_run_left_is_cleared(disc: Path, tmp_path: Path) -> None:
    left_over = tmp_path / ".queries_40k.partial"
    left_over.mkdir()
    (left_over / "T000009.jpg").symlink_to("/nowhere")
    prepare_disc(disc, tmp_path, queries=3)
    assert names(tmp_path) == sorted([*NAMES, "disc"])


def test_a_failure_half_way_leaves_the_old_folder_whole(
    disc: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare_disc(disc, tmp_path, queries=3, seed=0)
    before = names(tmp_path / "queries_40k")
    made, symlink = 0, os.symlink

    def full_disk(target: str, link: str) -> None:
        nonlocal made
        made += 1
        if made > 2:
            raise OSError(28, "No space left on device")
        symlink(target, link)

    monkeypatch.setattr("activeindex.datasets.links.os.symlink", full_disk)
    with pytest.raises(ActiveIndexError, match=r"queries_40k: .*No space left on device"):
        prepare_disc(disc, tmp_path, queries=6, seed=1)
    assert names(tmp_path / "queries_40k") == before
    assert names(tmp_path) == sorted([*NAMES, "disc"])


def test_two_runs_do_not_write_to_one_folder(disc: Path, tmp_path: Path) -> None:
    with (
        filelock.FileLock(tmp_path / LOCK_FILE),
        pytest.raises(InputError, match="expected no other run here"),
    ):
        prepare_disc(disc, tmp_path, queries=3)
    prepare_disc(disc, tmp_path, queries=3)


def test_progress_counts_every_link(disc: Path, tmp_path: Path) -> None:
    class Counter(Progress):
        done = 0

        def advance(self, items: int = 1, **figures: float | str) -> None:
            self.done += items

    for _ in range(2):  # Made, then kept.
        counter = Counter()
        prepare_disc(disc, tmp_path, queries=3, reporter=Showing(counter))
        assert counter.done == 2 + 4 + 3


def test_too_few_training_images_say_how_many_there_are(disc: Path) -> None:
    with pytest.raises(InputError, match=r"at least 40000 .* found 10; .* --num_queries"):
        prepare_disc(disc, disc)
    assert not (disc / "references_10k").exists()


@pytest.mark.parametrize("folder", ["train", "references"])
def test_a_missing_folder_is_named(disc: Path, folder: str) -> None:
    (disc / folder).rename(disc / "elsewhere")
    with pytest.raises(InputError, match=rf"disc/{folder}: expected a folder, found nothing"):
        prepare_disc(disc, disc, queries=3)


def test_a_folder_without_images_is_named(disc: Path) -> None:
    for image in (disc / "train").iterdir():
        image.unlink()
    with pytest.raises(InputError, match=r"train: expected images \(.jpg .jpeg .png\), found none"):
        prepare_disc(disc, disc, queries=3)


def test_a_missing_ground_truth_is_named(disc: Path) -> None:
    (disc / "dev_queries_groundtruth.csv").unlink()
    with pytest.raises(InputError, match=r"dev_queries_groundtruth.csv: expected a file"):
        prepare_disc(disc, disc, queries=3)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("Q00000,R000001\nQ00001\n", "line 2: expected .* found 'Q00001'"),
        ("Q00000,R000001\nQ00001,R000002,1\n", "line 2: expected"),
        ("Q00000,R000001\n,R000002\n", "line 2: expected"),
        ("Q00000,R000001\n\nQ00001,../etc/passwd\n", "line 3: expected .* found 'Q00001,../etc"),
        ("Q00000,R000001\nQ00001,R000099\n", "line 2: .* found R000099, which is not"),
        ("Q00000,\nQ00001,\n", "found none that names a reference"),
        ("", "found none that names a reference"),
        ('Q00000,"R000001\n', "expected CSV"),
    ],
)
def test_a_bad_ground_truth_is_named_by_file_and_line(
    disc: Path, text: str, complaint: str
) -> None:
    write_truth(disc, text)
    with pytest.raises(InputError, match=complaint) as caught:
        prepare_disc(disc, disc, queries=3)
    assert "dev_queries_groundtruth.csv" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_header_and_windows_line_ends_are_accepted(disc: Path, tmp_path: Path) -> None:
    write_truth(disc, "query_id,reference_id\r\nQ00000,R000001\r\nQ00001,\r\n")
    prepare_disc(disc, tmp_path, queries=1)
    assert names(tmp_path / "references_10k") == ["R000001.jpg"]


def test_two_images_of_one_reference_are_refused(disc: Path) -> None:
    (disc / "references" / "R000001.png").touch()
    with pytest.raises(InputError, match=r"expected one image R000001, found R000001.jpg and"):
        prepare_disc(disc, disc, queries=3)


@pytest.mark.skipif(
    "ACTIVEINDEX_DISC" not in os.environ, reason="ACTIVEINDEX_DISC names no DISC21-like folder"
)
def test_disc_itself(tmp_path: Path) -> None:
    disc = Path(os.environ["ACTIVEINDEX_DISC"])
    prepared: PreparedDisc = prepare_disc(disc, tmp_path, queries=500)
    references = names(disc / "references")
    matched, others = names(tmp_path / "references_10k"), names(tmp_path / "references_990k")
    assert sorted(matched + others) == references
    truth = (disc / "dev_queries_groundtruth.csv").read_text().split()
    assert len(matched) == len({row.split(",")[1] for row in truth} - {""})
    assert prepared.unmatched_queries.count == len(names(tmp_path / "queries_40k")) == 500
    if disc.name == "disc_mini":
        assert (len(matched), len(others)) == (200, 4000)
