"""The output folder of a run, as its results are read again."""

from pathlib import Path

import numpy as np
import pytest

from activeindex.evaluation.tables import DetectionSummary
from activeindex.experiment.folder import RunFolder

RUNS = Path(__file__).parents[1] / "fixtures" / "v0_1"


@pytest.mark.parametrize("name", ["run_passive", "run_active"])
def test_the_curve_of_a_folder_is_that_of_its_file(name: str) -> None:
    curve = RunFolder.open(str(RUNS / name)).precision_recall()
    expected = DetectionSummary.read(RUNS / name / "icd_df.csv", "L2")
    assert curve.average_precision == pytest.approx(expected.micro_ap, abs=1e-12)
    assert (np.diff(curve.recall) >= 0).all()
    assert curve.recall[-1] == 1
    assert ((curve.precision > 0) & (curve.precision <= 1)).all()
