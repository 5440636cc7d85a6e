"""Files of ``torch.export`` that are broken or made to do harm."""

import copy
import json
import math
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from activeindex.errors import InputError
from activeindex.extractors.named import load_extractor
from tests.extractors.programs import SIDE, Views, save, seeded


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A good file, to be changed."""
    return save(tmp_path_factory.mktemp("good") / "network.pt2", seeded(Views))


Files = dict[str, bytes]
PROGRAM, WEIGHTS = "models/model.json", "data/weights/model_weights_config.json"


def changed(
    good: Path, folder: Path, change: Callable[[Files], None], *, compression: int = 0
) -> Path:
    """A copy of the file in which ``change`` has changed the files by name."""
    path = folder / "changed.pt2"
    with zipfile.ZipFile(good) as archive:
        files = {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}
    change(files)
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in files.items():
            archive.writestr(f"network/{name}", content)
    return path


def change_json(name: str, change: Callable[[Any], None]) -> Callable[[Files], None]:
    def change_files(files: Files) -> None:
        value = json.loads(files[name])
        change(value)
        files[name] = json.dumps(value).encode()

    return change_files


def change_nodes(change: Callable[[list[Any]], None]) -> Callable[[Files], None]:
    return change_json(PROGRAM, lambda it: change(it["graph_module"]["graph"]["nodes"]))


class Harm:
    """Makes a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)


def test_nothing_in_the_file_is_unpickled(good: Path, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    harm = pickle.dumps(Harm(mark))
    pickle.loads(harm)
    assert mark.exists()
    mark.unlink()

    def into_samples(files: Files) -> None:
        files["data/sample_inputs/model.pt"] = harm

    def into_weights(files: Files) -> None:
        files["data/weights/weight_0"] = harm
        change_json(WEIGHTS, declare)(files)

    def declare(value: Any) -> None:
        value["config"]["convolution.weight"]["use_pickle"] = True

    load_extractor(changed(good, tmp_path, into_samples), SIDE)
    with pytest.raises(InputError, match=r"keeps convolution.weight in pickled form \(it is not u"):
        load_extractor(changed(good, tmp_path, into_weights), SIDE)
    assert not mark.exists()


def rename_everywhere(name: str) -> Callable[[Files], None]:
    """Gives the value of the first convolution another name, which PyTorch writes into source."""

    def change(files: Files) -> None:
        text = files[PROGRAM].decode().replace('"conv2d"', json.dumps(name))
        assert name in json.loads(text)["graph_module"]["graph"]["tensor_values"]
        files[PROGRAM] = text.encode()

    return change


def with_expression(expression: str) -> Callable[[Files], None]:
    """Gives the number of images as an expression, which PyTorch evaluates."""

    def change(program: Any) -> None:
        for value in program["graph_module"]["graph"]["tensor_values"].values():
            for size in value["sizes"]:
                if "as_expr" in size:
                    size["as_expr"]["expr_str"] = expression
        program["guards_code"] = [expression]

    return change_json(PROGRAM, change)


def with_constant(content: bytes, path_name: str, flagged: bool) -> Callable[[Files], None]:
    """Adds an object that PyTorch unpickles by the beginning of its name."""

    def change(files: Files) -> None:
        weight = next(iter(json.loads(files[WEIGHTS])["config"].values()))
        item = {**weight, "path_name": path_name, "use_pickle": flagged}
        if path_name == "tensor_0":
            item["tensor_meta"] = None
        files["data/constants/model_constants_config.json"] = json.dumps(
            {"config": {"object": item}}
        ).encode()
        files[f"data/constants/{path_name}"] = content

    return change


def test_no_text_of_the_file_is_run(good: Path, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    code = f"__import__('pathlib').Path({str(mark)!r}).touch()"
    load_extractor(changed(good, tmp_path, with_expression(code)), SIDE)
    for name in (f"x = {code}; conv2d", f"conv2d\n    {code}\n    y", "torch.load", "lambda"):
        with pytest.raises(InputError, match=r"as a name$"):
            load_extractor(changed(good, tmp_path, rename_everywhere(name)), SIDE)
    assert not mark.exists()


@pytest.mark.parametrize("flagged", [True, False])
@pytest.mark.parametrize("path_name", ["tensor_0", "custom_obj_0", "opaque_obj_0"])
def test_no_object_is_unpickled_as_a_constant(
    path_name: str, flagged: bool, good: Path, tmp_path: Path
) -> None:
    mark = tmp_path / "mark"
    change = with_constant(pickle.dumps(Harm(mark)), path_name, flagged)
    with pytest.raises(InputError, match=r"keeps object in pickled form \(it is not unpickled\)$"):
        load_extractor(changed(good, tmp_path, change), SIDE)
    assert not mark.exists()


@pytest.mark.parametrize(
    "member",
    [
        "data/weights/model.pt",
        "data/constants/model.pt",
        "data/aotinductor/model/code.so",
        "version",
    ],
)
def test_members_that_are_not_needed_are_not_read(member: str, good: Path, tmp_path: Path) -> None:
    mark = tmp_path / "mark"

    def change(files: Files) -> None:
        files[member] = pickle.dumps(Harm(mark))

    load_extractor(changed(good, tmp_path, change), SIDE)
    assert not mark.exists()


@pytest.mark.parametrize(
    "target",
    [
        "builtins.eval",
        "os.system",
        "torch.load",
        "torch.ops.prims.add.default",
        "torch.ops.aten.no_such_operator.default",
        "torch.ops.aten.relu.no_such_overload",
        "torch.ops.aten.__class__.mro",
        "torch.ops.higher_order.cond",
        "_operator.attrgetter",
    ],
)
def test_a_call_of_anything_but_an_aten_operator_is_refused(
    target: str, good: Path, tmp_path: Path
) -> None:
    path = changed(good, tmp_path, change_nodes(lambda nodes: nodes[1].update(target=target)))
    with pytest.raises(InputError) as caught:
        load_extractor(path, SIDE)
    expected = f"{path}: expected a program that maps images, found a call of {target}"
    assert str(caught.value) == expected


@pytest.mark.parametrize(
    ("operator", "tensor"), [("from_file.default", None), ("save.default", "item")]
)
def test_no_operator_gets_the_name_of_a_file(
    operator: str, tensor: str | None, good: Path, tmp_path: Path
) -> None:
    mark = tmp_path / "mark"
    inputs = [{"name": "filename", "arg": {"as_string": str(mark)}, "kind": 1}]
    if tensor is not None:
        inputs.insert(0, {"name": tensor, "arg": {"as_tensor": {"name": "images"}}, "kind": 1})
    node = {"target": f"torch.ops.aten.{operator}", "inputs": inputs, "outputs": []}
    path = changed(good, tmp_path, change_nodes(lambda nodes: nodes.insert(0, node)))
    with pytest.raises(InputError, match=f"^{path}: expected a program that maps images, found "):
        load_extractor(path, SIDE)
    assert not mark.exists()


def test_a_truncated_file_is_refused(good: Path, tmp_path: Path) -> None:
    content = good.read_bytes()
    path = tmp_path / "cut.pt2"
    for length in (0, 4, 1000, len(content) // 2, len(content) - 10):
        path.write_bytes(content[:length])
        with pytest.raises(InputError, match=f"^{path}: expected .* found no zip archive$"):
            load_extractor(path, SIDE)


def test_a_damaged_weight_is_refused(good: Path, tmp_path: Path) -> None:
    path = tmp_path / "damaged.pt2"
    content = good.read_bytes()
    with zipfile.ZipFile(good) as archive:
        name = next(name for name in archive.namelist() if name.endswith("weights/weight_0"))
        bits = archive.read(name)
    assert content.count(bits) == 1
    path.write_bytes(content.replace(bits, bytes([bits[0] ^ 1]) + bits[1:]))
    with pytest.raises(InputError, match=f"^{path}: expected .* found "):
        load_extractor(path, SIDE)


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (
            change_json(PROGRAM, lambda it: it["schema_version"].update(major=7)),
            "schema version 7 (known here: 8)",
        ),
        (
            lambda files: files.update(archive_version=b"1"),
            "an archive of another version or byte order",
        ),
        (
            lambda files: files.update(byteorder=b"big"),
            "an archive of another version or byte order",
        ),
        (lambda files: files.update({"models/second.json": b"{}"}), "one with 2 models"),
        (
            lambda files: files.update({"data/aotinductor/model/code.so": files.pop(PROGRAM)}),
            "one compiled by AOTInductor, which has no gradient",
        ),
        (lambda files: files.pop("archive_format"), "another zip archive"),
    ],
)
def test_another_kind_of_archive_is_named(
    change: Callable[[Files], None], found: str, good: Path, tmp_path: Path
) -> None:
    path = changed(good, tmp_path, change)
    with pytest.raises(InputError) as caught:
        load_extractor(path, SIDE)
    assert str(caught.value) == (
        f"{path}: expected a program saved by torch.export.save, found {found}"
    )


def test_the_format_before_pytorch_2_8_is_told_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "old.pt2"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("version", "8.8")
        archive.writestr("serialized_exported_program.json", "{}")
        archive.writestr("serialized_state_dict.pt", b"")
    with pytest.raises(InputError, match=r"found one saved by PyTorch before 2.8; save it again$"):
        load_extractor(path, SIDE)


def test_compressed_archives_and_other_files_are_refused(good: Path, tmp_path: Path) -> None:
    path = changed(good, tmp_path, lambda files: None, compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(InputError, match=r"found a compressed archive$"):
        load_extractor(path, SIDE)
    torch.save(Views(), path)
    with pytest.raises(InputError, match=r"found another zip archive$"):
        load_extractor(path, SIDE)


VALUES: tuple[Any, ...] = (
    None,
    -1,
    0,
    1,
    10**6,
    2**63,
    2**70,
    math.inf,
    "",
    "x",
    [],
    {},
    [1],
    {"as_int": 3},
    True,
)


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every place in the program that can be changed: what it lies in, and the key there."""
    keys = value.keys() if isinstance(value, dict) else range(len(value))
    found = [(value, key) for key in keys if key != "metadata"]
    inner = [value[key] for _, key in found if isinstance(value[key], dict | list)]
    return found + [place for item in inner for place in places(item)]


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_changed_program_loads_or_is_refused_in_one_line(
    data: st.DataObject, good: Path, tmp_path: Path
) -> None:
    def change(program: Any) -> None:
        found = places(program)
        holder, key = found[data.draw(st.integers(0, len(found) - 1))]
        other, other_key = found[data.draw(st.integers(0, len(found) - 1))]
        holder[key] = data.draw(st.sampled_from((*VALUES, copy.deepcopy(other[other_key]))))

    name = data.draw(st.sampled_from((PROGRAM, WEIGHTS)))
    path = changed(good, tmp_path, change_json(name, change))
    try:
        refused = None
        load_extractor(path, SIDE)
    except InputError as error:
        refused = str(error)
    assert refused is None or (path.name in refused and len(refused.splitlines()) == 1)
