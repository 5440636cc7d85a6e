"""How far a run is."""

import pytest

from activeindex.errors import InputError
from training.schedule import Curriculum, Schedule


def test_resolutions_follow_their_shares() -> None:
    curriculum = Curriculum.parse("128:0.4,160:0.4,224:0.2")
    assert [curriculum.size(p) for p in (0, 0.39, 0.4, 0.79, 0.8, 1)] == [
        *(128, 128, 160, 160, 224, 224)
    ]
    assert Curriculum.parse("96").final == 96


@pytest.mark.parametrize("text", ["128:0.4", "a:1", "8:1", "128:0.5,160:x", "128:1.5,160:-0.5"])
def test_another_curriculum_is_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"^curriculum: expected"):
        Curriculum.parse(text)


def test_a_run_short_of_time_still_goes_through_its_whole_schedule() -> None:
    schedule = Schedule(steps=1000, seconds=10, rate=1.0)
    assert schedule.progress(500, 1.0) == 0.5
    assert schedule.progress(100, 10.0) == 1.0
    assert schedule.learning_rate(1.0) == pytest.approx(0.0)
    assert schedule.learning_rate(0.05) == pytest.approx(1.0)
    assert 0 < schedule.learning_rate(0.0) < 0.1
