import dataclasses

import pytest

from activeindex.activation.settings import PAPER, PRESETS, ActivationSettings
from activeindex.errors import InputError


def test_the_paper_preset_has_the_published_values() -> None:
    assert PRESETS["paper"].settings == PAPER == ActivationSettings()
    assert dataclasses.asdict(PAPER) == {
        "iterations": 10,
        "optimizer": "Adam,lr=1e-0",
        "scheduler": None,
        "target": "pq_recons",
        "loss_f": "cossim",
        "lambda_f": 1.0,
        "lambda_i": 0.01,
        "use_tanh": True,
        "scale_channels": True,
        "use_attenuation": True,
        "scaling": 3.0,
        "margin_weight": 0.0,
        "edited_views": 0,
        "descriptor_views": 0,
        "margin_width": 0.1,
        "precision": "float32",
    }


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("iterations", -1, "iterations: expected 0 or more, found -1"),
        ("target", "pq", "target: expected one of pq_recons, ori_ft, ivf_cluster, "),
        ("precision", "half", "precision: expected one of float32, bfloat16, found 'half'"),
        ("loss_f", "l1", "loss_f: expected one of cossim, mse, found 'l1'"),
        ("lambda_f", -0.5, "lambda_f: expected 0 or more, found -0.5"),
        ("lambda_i", float("nan"), "lambda_i: expected 0 or more, found nan"),
        ("scaling", float("inf"), "scaling: expected 0 or more, found inf"),
    ],
)
def test_a_field_out_of_range_is_refused_by_name(field: str, value: object, message: str) -> None:
    with pytest.raises(InputError) as caught:
        PAPER.replace(**{field: value})
    assert str(caught.value).startswith(message)


def test_settings_do_not_change() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        PAPER.iterations = 3  # type: ignore[misc]
    assert PAPER.replace(iterations=3).iterations == 3
    assert PAPER.iterations == 10
