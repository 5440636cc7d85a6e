import pytest
import torch

from activeindex.errors import InputError
from activeindex.runtime.devices import on_device


def test_what_is_put_on_a_device_comes_back() -> None:
    assert on_device("cpu", lambda device: torch.zeros(2, device=device)).device.type == "cpu"


def test_auto_takes_a_gpu_if_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for there, expected in ((False, "cpu"), (True, "cuda")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda there=there: there)
        assert on_device("auto", str) == expected


def test_a_device_that_is_none_is_named() -> None:
    with pytest.raises(InputError, match=r"^device 'quantum': cannot be used \(.+\)$"):
        on_device("quantum", str)


def test_a_device_that_fails_is_named_in_one_line() -> None:
    def put(device: torch.device) -> None:
        raise RuntimeError(f"no {device} left\nin a stack of C++")

    with pytest.raises(InputError, match=r"^device 'cpu': cannot be used \(no cpu left\)$"):
        on_device("cpu", put)
