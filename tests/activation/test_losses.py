import pytest
import torch

from activeindex.activation.objective import feature_loss, total_loss
from activeindex.activation.settings import ActivationSettings

FEATURES = torch.tensor([[3.0, 4.0], [1.0, 0.0], [2.0, 2.0]])
TARGETS = torch.tensor([[4.0, 3.0], [-1.0, 0.0], [5.0, 5.0]])


def test_cossim_is_minus_the_cosine_of_each_image() -> None:
    # (12 + 12) / (5 * 5), opposite, parallel
    losses = feature_loss("cossim", FEATURES, TARGETS)
    assert losses.tolist() == pytest.approx([-0.96, 1.0, -1.0])


def test_mse_is_the_squared_distance_of_each_image() -> None:
    assert feature_loss("mse", FEATURES, TARGETS).tolist() == pytest.approx([2.0, 4.0, 18.0])


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (ActivationSettings(), [2.01, -1.0]),
        (ActivationSettings(lambda_f=0.5, lambda_i=3.0), [4.0, -0.5]),
        (ActivationSettings(lambda_f=0.0, lambda_i=1.0), [1.0, 0.0]),
        (ActivationSettings(lambda_i=0.0), [2.0, -1.0]),
    ],
)
def test_the_weights_add_up_the_two_losses(
    settings: ActivationSettings, expected: list[float]
) -> None:
    feature_losses, image_losses = torch.tensor([2.0, -1.0]), torch.tensor([1.0, 0.0])
    assert total_loss(feature_losses, image_losses, settings).tolist() == pytest.approx(expected)
