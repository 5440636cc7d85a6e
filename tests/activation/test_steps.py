import pytest
import torch

from activeindex.activation.optimizers import NormedMomentum, build_optimiser
from activeindex.errors import InputError


def positions(gradients: list[torch.Tensor], text: str) -> list[torch.Tensor]:
    value = torch.zeros_like(gradients[0]).requires_grad_()
    optimiser = build_optimiser(text, [value])
    found = [value.detach().clone()]
    for gradient in gradients:
        value.grad = gradient
        optimiser.step()
        found.append(value.detach().clone())
    return found


def test_every_step_has_the_same_length_and_the_shape_of_the_gradient() -> None:
    gradient = torch.tensor([3.0, -4.0, 0.0, 0.0])
    for size in (1e-6, 1.0, 1e6):
        start, end = positions([size * gradient], "NormedMomentum,lr=0.5")
        torch.testing.assert_close(end - start, -0.5 * gradient / 2.5)


def test_momentum_keeps_what_steps_agree_on() -> None:
    there, back = torch.tensor([1.0, 1.0]), torch.tensor([1.0, -1.0])
    _, first, second = positions([there, back], "NormedMomentum,lr=1.0,momentum=0.9")
    total = torch.tensor([1.9, -0.1])
    torch.testing.assert_close(first - second, total / total.square().mean().sqrt())


def test_each_tensor_is_normed_for_itself() -> None:
    large, small = torch.zeros(2, requires_grad=True), torch.zeros(3, requires_grad=True)
    large.grad, small.grad = torch.full((2,), 100.0), torch.full((3,), 0.01)
    NormedMomentum([large, small], lr=0.2).step()
    torch.testing.assert_close(large.detach(), torch.full((2,), -0.2))
    torch.testing.assert_close(small.detach(), torch.full((3,), -0.2))


def test_nothing_moves_without_a_gradient() -> None:
    for position in positions([torch.zeros(3)] * 2, "NormedMomentum"):
        assert position.tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("arguments", ["lr=0", "lr=-1", "momentum=1", "momentum=-0.1", "speed=3"])
def test_arguments_out_of_range_are_refused(arguments: str) -> None:
    with pytest.raises(InputError, match="NormedMomentum"):
        build_optimiser(f"NormedMomentum,{arguments}", [torch.zeros(1, requires_grad=True)])
