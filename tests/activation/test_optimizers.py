import importlib.util
from pathlib import Path

import pytest
import torch

from activeindex.activation.optimizers import (
    NormedMomentum,
    build_optimiser,
    build_scheduler,
    moves_rows_alone,
    parse_call,
)
from activeindex.errors import InputError


def descend(optimizer: str, scheduler: str | None = None, steps: int = 5) -> list[float]:
    """The values of x on its way down x^2 from 1."""
    value = torch.ones(1, requires_grad=True)
    optimiser = build_optimiser(optimizer, [value])
    advance = build_scheduler(scheduler, optimiser)

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        loss = value.square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    values = []
    for step in range(steps):
        optimiser.step(closure)  # type: ignore[arg-type]
        advance(step + 1)
        values.append(value.item())
    return values


@pytest.mark.parametrize(
    ("text", "name", "arguments"),
    [
        ("Adam", "Adam", {}),
        ("Adam,lr=1e-0", "Adam", {"lr": 1.0}),
        ("Adam,lr=1e-0,betas=(0.9,0.99)", "Adam", {"lr": 1.0, "betas": (0.9, 0.99)}),
        ("SGD, lr=0.1, nesterov=True", "SGD", {"lr": 0.1, "nesterov": True}),
        ("StepLR,step_size=3", "StepLR", {"step_size": 3}),
        ("Adam,amsgrad=False,lr=-2", "Adam", {"amsgrad": False, "lr": -2}),
    ],
)
def test_a_string_is_a_name_and_arguments(
    text: str, name: str, arguments: dict[str, object]
) -> None:
    assert parse_call(text, "optimizer") == (name, arguments)


@pytest.mark.parametrize("optimizer", ["Adam,lr=0.1", "SGD,lr=0.1", "AdamW,lr=0.1", "LBFGS,lr=0.1"])
def test_the_optimisers_of_torch_descend(optimizer: str) -> None:
    values = descend(optimizer)
    assert 1.0 > values[0] > values[1] > values[-1] >= -1e-3


def descended_rows(optimizer: str, rows: torch.Tensor) -> torch.Tensor:
    """Where rows are after some steps down the sum of x^4."""
    moving = rows.clone().requires_grad_()
    optimiser = build_optimiser(optimizer, [moving])

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        loss = moving.pow(4).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    for _ in range(3):
        optimiser.step(closure)  # type: ignore[arg-type]
    return moving.detach()


@pytest.mark.parametrize(
    "optimizer",
    [
        *("ASGD", "Adadelta", "Adafactor", "Adagrad", "Adam", "AdamW", "Adamax", "LBFGS"),
        *("NAdam", "NormedMomentum", "RAdam", "RMSprop", "Rprop", "SGD,lr=0.1"),
    ],
)
def test_images_are_stacked_only_for_optimisers_that_move_each_as_if_alone(optimizer: str) -> None:
    rows = torch.tensor([[0.1, 0.2, 0.3], [1.0, -2.0, 0.5]])
    together = descended_rows(optimizer, rows)
    alone = torch.cat([descended_rows(optimizer, row) for row in (rows[:1], rows[1:])])
    assert torch.equal(together, alone) == moves_rows_alone(optimizer)


def test_the_arguments_arrive() -> None:
    assert descend("SGD,lr=0.25", steps=2) == pytest.approx([0.5, 0.25])  # x - 0.25 * 2x


def test_a_scheduler_counts_the_steps() -> None:
    # The rate falls from 0.25 to 0 after the third step.
    values = descend("SGD,lr=0.25", "StepLR,step_size=3,gamma=0.0")
    assert values == pytest.approx([0.5, 0.25, 0.125, 0.125, 0.125])


@pytest.mark.parametrize(
    "text",
    [
        "Adam,lr=__import__('os')",
        "Adam,lr=open('marker','w')",
        "Adam,lr=1)+open('marker','w'",
        "Adam,**{'lr': open('marker','w')}",
        "open('marker','w')",
        "os.system",
        "Adam,1",
        "Adam,lr",
        "Adam,lr=",
        "Adam,lr=" + "-" * 5000 + "1",
        "",
    ],
)
def test_anything_but_literals_is_refused_and_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"^optimizer: expected a name and arguments such as"):
        build_optimiser(text, [torch.ones(1, requires_grad=True)])
    assert list(tmp_path.iterdir()) == []


def test_an_optimiser_for_sparse_gradients_is_refused() -> None:
    with pytest.raises(InputError, match=r"^optimizer: expected one for dense gradients, found"):
        build_optimiser("SparseAdam,lr=0.1", [torch.ones(1, requires_grad=True)])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Adam,speed=3", "unexpected keyword argument 'speed'"),
        ("Adam,lr=-1", "Invalid learning rate: -1"),
        ("Adam,lr='fast'", "not supported"),
        ("Adam,foreach=True,fused=True", "cannot be `True` together"),
        ("SGD,lr=1,nesterov=True", "Nesterov momentum requires"),
    ],
)
def test_an_argument_that_the_optimiser_refuses_is_told(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        build_optimiser(text, [torch.ones(1, requires_grad=True)])
    assert str(caught.value).startswith(f"optimizer {text!r}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text", ["StepLR", "StepLR,steps=3", "ReduceLROnPlateau", "OneCycleLR,max_lr=1,total_steps=2"]
)
def test_a_scheduler_that_cannot_do_is_told(text: str) -> None:
    with pytest.raises(InputError) as caught:
        descend("SGD,lr=0.1", text)
    assert str(caught.value).startswith(f"scheduler {text!r}: ")


@pytest.mark.parametrize("name", ["Adamm", "adam", "_Optimizer", "lr_scheduler"])
def test_an_unknown_name_is_refused(name: str) -> None:
    with pytest.raises(InputError, match=f"^optimizer: expected a torch .* found '{name}'$"):
        descend(name)
    with pytest.raises(InputError, match=f"^scheduler: expected a torch .* found '{name}'$"):
        descend("Adam", name)


@pytest.mark.skipif(importlib.util.find_spec("timm") is None, reason="timm is not installed")
def test_the_optimisers_of_timm_descend() -> None:
    values = descend("Lamb,lr=0.1")
    assert 1.0 > values[0] > values[-1]


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
