"""Run every command on a small collection and keep all it writes, to compare two versions.

    python tests/golden/make.py OUT [--inputs DIR] [--jobs N] [--fork]

Runs the ``activeindex`` that this Python imports (set PYTHONPATH to choose another tree) about a
hundred times, below ``OUT``. ``OUT/said/NAME.txt`` has the arguments, exit code, standard output
and standard error of each command. The images and the network are made once in ``--inputs``
(default: ``OUT.inputs``) and copied to ``OUT/inputs``; give two versions the same ones, because
results depend on file times too. ``compare.py`` compares two such trees.

The script uses nothing of the package, so that it works with any version of it.
"""

import argparse
import importlib.util
import os
import resource
import runpy
import shlex
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms

TRAINING = 272
"""8-bit product quantisers want at least 256 training features."""
REFERENCES = 40
NON_MATCHING = 4
MATCHED = (3, 19)
"""References that the ground truth of ``inputs/disc`` names."""

OTHERS = ("brick", "cell", "clock_motion", "grass", "gravel", "ihc", "page", "motorcycle_right")
"""Photographs of scikit-image that training images, references and other queries are cut from."""


# Inputs


def make_inputs(root: Path) -> None:
    """Write the images and the TorchScript file that all commands read."""
    make_originals(root / "originals")
    others = [photograph(f"skimage/{name}.png").convert("RGB") for name in OTHERS]
    for folder, count, seed in (
        ("disc/train", TRAINING, 1),
        ("disc/references", REFERENCES, 2),
        ("nonmatch", NON_MATCHING, 3),
    ):
        (root / folder).mkdir(parents=True)
        for number in range(count):
            generator = np.random.default_rng([seed, number])
            image = random_crop(others[number % len(others)], generator)
            image.save(root / folder / f"R{number:06d}.jpg", quality=92)
    rows = [f"Q{query:05d},R{number:06d}\n" for query, number in enumerate(MATCHED)]
    (root / "disc/dev_queries_groundtruth.csv").write_text("".join(rows) + "Q00009,\n")
    make_network(root / "tiny.pt")


def photograph(name: str) -> Image.Image:
    """Open ``skimage/FILE`` or ``sklearn/FILE``, a photograph that ships in that package."""
    package, _, file = name.partition("/")
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise SystemExit(f"the inputs need photographs that ship in {package}: install it")
    folder = {"skimage": "data", "sklearn": "datasets/images"}[package]
    return Image.open(Path(spec.origin).parent / folder / file)


def resized(image: Image.Image, width: int, height: int) -> Image.Image:
    """Resize with a high-quality filter."""
    return image.resize((width, height), Image.Resampling.LANCZOS)


def make_originals(folder: Path) -> None:
    """Write six originals of different kinds, and the small folders made of them."""
    folder.mkdir(parents=True)
    astronaut = resized(photograph("skimage/astronaut.png").convert("RGB"), 224, 224)
    astronaut.save(folder / "astronaut.png")
    camera = resized(photograph("skimage/camera.png").convert("L"), 200, 200)
    camera.save(folder / "camera_grey.png")
    chelsea = resized(photograph("skimage/chelsea.png").convert("RGB"), 240, 160)
    rows, columns = np.mgrid[:160, :240]
    chelsea.putalpha(Image.fromarray(((rows + columns) * 255 // 398).astype(np.uint8)))
    chelsea.save(folder / "chelsea_alpha.png")
    coffee = photograph("skimage/coffee.png").convert("RGB").crop((200, 0, 360, 400))
    resized(coffee, 104, 256).save(folder / "coffee_tall.png")
    flower = resized(photograph("sklearn/flower.jpg").convert("RGB"), 192, 128)
    flower.save(folder / "flower.webp", quality=95)
    rocket = resized(photograph("skimage/rocket.jpg").convert("RGB"), 128, 192)
    exif = Image.Exif()
    exif[0x0112] = 6  # Orientation: to be turned by a quarter.
    exif[0x013B] = "A photographer"
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    profile[24:36] = bytes(12)  # The time when it was made.
    rocket.save(folder / "rocket.jpg", quality=95, exif=exif, icc_profile=bytes(profile))

    root = folder.parent
    for name, copies in {
        "few": ("astronaut.png", "chelsea_alpha.png", "rocket.jpg"),
        "nested/2023/summer": ("astronaut.png",),
        "nested/2024": ("rocket.jpg",),
        "unreadable": ("astronaut.png",),
    }.items():
        (root / name).mkdir(parents=True)
        for copy in copies:
            shutil.copy(folder / copy, root / name / copy)
    (root / "nested/notes.txt").write_text("not an image\n")
    (root / "unreadable/broken.png").write_bytes((folder / "camera_grey.png").read_bytes()[:900])
    (root / "empty").mkdir()
    (root / "empty/notes.txt").write_text("not an image\n")
    (root / "not_a_network.pt").write_bytes(b"not a network")

    suspects = root / "suspects"
    suspects.mkdir()
    astronaut.crop((20, 20, 204, 204)).save(suspects / "astronaut_cropped.jpg", quality=60)
    resized(coffee, 80, 200).save(suspects / "coffee_resized.png")
    camera.rotate(8).convert("RGB").save(suspects / "camera_turned.jpg", quality=80)


def random_crop(image: Image.Image, generator: np.random.Generator) -> Image.Image:
    """Cut a random square and resize it to 96 pixels, turned by some quarters."""
    side = generator.uniform(0.2, 0.7) * min(image.size)
    left = generator.uniform(0, image.width - side)
    top = generator.uniform(0, image.height - side)
    box = (left, top, left + side, top + side)
    crop = image.resize((96, 96), Image.Resampling.BICUBIC, box=box)
    return crop.transpose(Image.Transpose(int(generator.integers(2, 5))))


def make_network(path: Path, width: int = 32) -> None:
    """Write a small convolutional network, 64 pixels to 32 dimensions, with seeded weights."""
    import torch
    from torch import nn

    network = nn.Sequential(
        *(nn.Conv2d(3, 16, 5, 2, 2), nn.ReLU(), nn.Conv2d(16, width, 3, 2, 1), nn.ReLU()),
        *(nn.Conv2d(width, width, 3, 2, 1), nn.ReLU(), nn.AvgPool2d(4), nn.Flatten()),
        nn.Linear(4 * width, 32),
    )
    generator = np.random.default_rng(7)
    with torch.no_grad():
        for parameter in network.parameters():
            scale = 1.5 / np.sqrt(max(parameter[0].numel(), 1)) if parameter.dim() > 1 else 0.1
            values = generator.normal(0, scale, tuple(parameter.shape)).astype(np.float32)
            parameter.copy_(torch.from_numpy(values))
    torch.jit.script(network.eval()).save(str(path))  # type: ignore[no-untyped-call]


# Commands

WORDS = {
    "tiny": "--model_name torchscript --model_path inputs/tiny.pt --resize_size 64 --workers 0",
    "lite0": "--workers 0",  # Starting workers takes longer than most of the work.
    "tiny-workers": "--model_name torchscript --model_path inputs/tiny.pt --resize_size 64",
    "lite0-fts": "--fts_training_path fts/lite0/train/fts.pt "
    "--fts_reference_path fts/lite0/references/fts.pt --idx_dir idx/lite0",
    "tiny-fts": "--fts_training_path fts/tiny/train/fts.pt "
    "--fts_reference_path fts/tiny/references/fts.pt --idx_dir idx/tiny",
    "all": "--data_dir inputs/originals --query_nonmatch_dir inputs/nonmatch --kneighbors 10",
    "few": "--data_dir inputs/few --query_nonmatch_dir inputs/nonmatch --kneighbors 10",
}
"""What ``{NAME}`` stands for in the commands below."""

HELP = "help: --help\nversion: --version\nhelp-module: [main] --help\n" + "".join(
    f"help-{command.replace(' ', '-')}: {command} --help\n"
    for command in (
        *("activate", "compare", "demo", "extract_fts", "main", "models", "prepare_disc"),
        *("report", "search", "store", "table", "train_index", "whiten"),
        *("store create", "store renew", "store add", "store get", "store remove"),
        *("store compact", "store info"),
    )
)

EXTRACTION = """
tiny-extract-training: extract_fts {tiny-workers} --data_dir inputs/disc/train
  --output_dir fts/tiny/train
tiny-extract-training-again: extract_fts {tiny-workers} --data_dir inputs/disc/train
  --output_dir fts/tiny/train

tiny-extract-references: extract_fts {tiny} --data_dir inputs/disc/references
  --output_dir fts/tiny/references
tiny-extract-edited: extract_fts {tiny} --data_dir inputs/disc/train --edit_seed 3
  --output_dir fts/tiny/edited --batch_size 64
tiny-extract-originals: extract_fts {tiny} --data_dir inputs/originals
  --output_dir fts/tiny/originals
tiny-extract-pth: extract_fts {tiny} --data_dir inputs/few --output_dir fts/tiny/pth --format pth
tiny-extract-npy: extract_fts {tiny} --data_dir inputs/nested --output_dir fts/tiny/npy
  --format npy

lite0-extract-training: extract_fts {lite0} --data_dir inputs/disc/train
  --output_dir fts/lite0/train
lite0-extract-references: extract_fts --data_dir inputs/disc/references
  --output_dir fts/lite0/references

lite0-extract-edited: extract_fts {lite0} --data_dir inputs/disc/train --edit_seed 3
  --output_dir fts/lite0/edited
lite0-extract-views: extract_fts {lite0} --data_dir inputs/few --output_dir fts/lite0/views
  --code_views 2
lite0-extract-scaled: extract_fts {lite0} --data_dir inputs/originals
  --output_dir fts/lite0/scaled --decode scaled
lite0-extract-skip: extract_fts {lite0} --data_dir inputs/unreadable
  --output_dir fts/lite0/skip --unreadable skip

prepare_disc: prepare_disc --data_path inputs/disc --output_dir disc --num_queries 3
models: models
models-json: models --json
"""

TRAINING_INDEXES = """
tiny-whiten: whiten --fts_training_path fts/tiny/train/fts.pt --dimension 16
  fts/tiny/whitening.npz
tiny-extract-whitened: extract_fts {tiny} --whitening fts/tiny/whitening.npz
  --data_dir inputs/disc/train --output_dir fts/tiny/whitened
tiny-train-whitened: train_index --fts_training_path fts/tiny/whitened/fts.pt
  --idx_factory IVF4,PQ4x4np --quant IP indexes/tiny-whitened

tiny-train-pq: train_index --fts_training_path fts/tiny/train/fts.pt --idx_factory IVF4,PQ4x8np
  indexes/tiny-pq
tiny-train-nap: train_index --fts_training_path fts/tiny/train/fts.pt
  --fts_edited_path fts/tiny/edited/fts.pt --idx_factory NAP2,IVF4,PQ4x4np indexes/tiny-nap
tiny-train-lsh: train_index --fts_training_path fts/tiny/train/fts.pt --idx_factory PCA16,LSH
  indexes/tiny-lsh

lite0-train-pq: train_index --fts_training_path fts/lite0/train/fts.pt
  --idx_factory IVF8,PQ4x4np indexes/lite0-pq
lite0-train-nap: train_index --fts_training_path fts/lite0/train/fts.pt
  --fts_edited_path fts/lite0/edited/fts.pt --idx_factory NAP4,IVF4,PQ4x4np indexes/lite0-nap
lite0-train-lsh: train_index --fts_training_path fts/lite0/train/fts.pt --idx_factory PCA24,LSH
  indexes/lite0-lsh
lite0-train-big: train_index --fts_training_path fts/lite0/train/fts.pt
  --idx_factory IVF4,PQ8x8np indexes/lite0-big
lite0-train-newer: train_index --fts_training_path fts/lite0/train/fts.pt
  --idx_factory IVF6,PQ8x8np indexes/lite0-newer
"""

ACTIVATION = """
tiny-activate-png: activate {tiny-workers} --index indexes/tiny-pq inputs/originals
  released/tiny-png
tiny-activate-png-again: activate {tiny-workers} --index indexes/tiny-pq inputs/originals
  released/tiny-png
tiny-activate-jpeg: activate {tiny} --index indexes/tiny-pq inputs/originals released/tiny-jpeg
  --format jpeg
tiny-activate-two: activate {tiny} --index indexes/tiny-pq --index indexes/tiny-nap inputs/few
  released/tiny-two
tiny-activate-lsh: activate {tiny} --index indexes/tiny-lsh inputs/few released/tiny-lsh
  --target ori_ft --loss_f mse
tiny-activate-nap: activate {tiny} --index indexes/tiny-nap inputs/few released/tiny-nap
  --preset fast --seed 5
tiny-activate-whitened: activate {tiny} --whitening fts/tiny/whitening.npz
  --index indexes/tiny-whitened inputs/few released/tiny-whitened --preset paper
tiny-activate-options: activate {tiny} --index indexes/tiny-pq inputs/few released/tiny-options
  --preset paper --iterations 4 --optimizer NormedMomentum,lr=0.5 --scheduler StepLR,step_size=2
  --use_tanh False --scale_channels False --use_attenuation False --scaling 1
  --target ivf_cluster_half --edited_views 1 --margin_weight 0.5 --margin_width 0.2

lite0-activate-png: activate {lite0} --index indexes/lite0-big --iterations 4 inputs/originals
  released/lite0-png
lite0-activate-webp: activate {lite0} --index indexes/lite0-big --iterations 3 --format webp
  --quality 80 inputs/few released/lite0-webp
lite0-activate-paper: activate {lite0} --index indexes/lite0-pq --preset paper inputs/few
  released/lite0-paper
lite0-activate-nested: activate {lite0} --index indexes/lite0-newer --preset paper --iterations 3
  inputs/nested released/lite0-nested

lite0-activate-jpeg: activate {lite0} --index indexes/lite0-pq --iterations 3 --format jpeg
  inputs/few released/lite0-jpeg
lite0-activate-psnr: activate {lite0} --index indexes/lite0-pq --preset paper --psnr 44
  --unreadable skip inputs/unreadable released/lite0-psnr
lite0-activate-ssim: activate {lite0} --index indexes/lite0-pq --preset paper --ssim 0.99
  --iterations 4 inputs/few released/lite0-ssim
lite0-activate-linf: activate {lite0} --index indexes/lite0-pq --preset paper --linf 4
  --iterations 4 inputs/few released/lite0-linf
lite0-activate-strict: activate {lite0} --index indexes/lite0-pq --preset paper --psnr 60
  --iterations 2 --format jpeg --quality 50 inputs/few released/lite0-strict
lite0-activate-views: activate {lite0} --index indexes/lite0-pq --preset fast --iterations 2
  --code_views 2 inputs/few released/lite0-views
lite0-activate-two: activate {lite0} --index indexes/lite0-pq --index indexes/lite0-lsh
  --preset fast --iterations 2 inputs/few released/lite0-two
lite0-activate-nap: activate {lite0} --index indexes/lite0-nap --preset deep --iterations 2
  inputs/few released/lite0-nap
"""

EXPERIMENTS = """
lite0-main-active: main {lite0} {lite0-fts} {all} --idx_factory IVF8,PQ4x4np
  --output_dir runs/lite0-active --active True --iterations 5 --log_freq 1
lite0-main-passive: main {lite0} {lite0-fts} {all} --idx_factory IVF8,PQ4x4np
  --output_dir runs/lite0-passive --active False --save_imgs False
lite0-main-from-folder: activate {lite0} --index idx/lite0/idx=IVF8,PQ4x4np_quant=L2.index
  --preset paper --iterations 2 inputs/few released/lite0-from-run

tiny-main-passive: main {tiny-workers} {tiny-fts} {all} --idx_factory IVF4,PQ4x8np
  --output_dir runs/tiny-passive --active False --nprobe 2
tiny-main-active: main {tiny-workers} {tiny-fts} {all} --idx_factory IVF4,PQ4x8np
  --output_dir runs/tiny-active --active True --save_imgs False --nprobe 2 --batch_size 4
tiny-main-active-again: main {tiny-workers} {tiny-fts} {all} --idx_factory IVF4,PQ4x8np
  --output_dir runs/tiny-active --active True --save_imgs False --nprobe 2 --batch_size 4
tiny-main-jpeg: main {tiny} {tiny-fts} {few} --idx_factory IVF4,PQ4x8np
  --output_dir runs/tiny-jpeg --active True --format jpeg --preset thorough --iterations 3
  --use_attacks_2 True
tiny-main-nap: main {tiny} {tiny-fts} {few} --fts_edited_path fts/tiny/edited/fts.pt
  --idx_factory NAP2,IVF4,PQ4x4np --output_dir runs/tiny-nap --psnr 45
tiny-main-lsh: main {tiny} {tiny-fts} {few} --idx_factory PCA16,LSH --output_dir runs/tiny-lsh
  --eval_icd False --target ori_ft
tiny-main-ip: main {tiny} {tiny-fts} {few} --idx_factory IVF4,Flat --quant IP
  --output_dir runs/tiny-ip --eval_retrieval False --active False
"""

STORE = """
E-create: store create E:S/E --index indexes/lite0-big
E-add-released: store add E:S/E released/lite0-png
E-add-again: store add E:S/E released/lite0-png
E-add-features: store add E:S/E fts/lite0/references --data_dir inputs/disc/references
E-search: search {lite0} --store E:S/E --k 3 --nprobe 4 inputs/suspects
E-search-json: search {lite0} --store E:S/E --k 5 --nprobe 4 --json inputs/suspects
E-search-refine: search {lite0} --store E:S/E --k 3 --nprobe 2 --refine 4 --json
  inputs/suspects released/lite0-png/astronaut.png
E-search-where: search {lite0} --store E:S/E --nprobe 4 --json inputs/suspects
  --where "psnr > 30 AND name LIKE '%c%'"
E-get-names: store get E:S/E astronaut.png R000003.jpg
E-get-absent: store get E:S/E astronaut.png nowhere.png --ids 3 4711
E-renew: store renew E:S/E --index indexes/lite0-newer
E-add-newer: store add E:S/E released/lite0-nested
E-add-older: store add E:S/E released/lite0-webp --index indexes/lite0-big
E-search-both: search {lite0} --store E:S/E --k 4 --nprobe 4 --json inputs/suspects
E-search-index: search {lite0} --store E:S/E --k 2 --index indexes/lite0-newer inputs/suspects
E-remove: store remove E:S/E R000003.jpg --ids 0 --where "name = 'coffee_tall.png'"
E-compact: store compact E:S/E
E-info: store info E:S/E
E-search-end: search {lite0} --store E:S/E --k 60 --nprobe 4 --json inputs/suspects
E-get-end: store get E:S/E --where "id >= 0"
"""

TINY_STORE = """
faiss-nap-create: store create faiss:stores/nap --index indexes/tiny-nap
faiss-nap-add: store add faiss:stores/nap released/tiny-nap
faiss-nap-add-force: store add faiss:stores/nap fts/tiny/references/fts.pt --force
faiss-nap-search: search {tiny} --store faiss:stores/nap --k 4 --json inputs/suspects
faiss-nap-get-end: store get faiss:stores/nap --where "id >= 0"
"""

READING = """
table: table runs/lite0-passive active=runs/lite0-active --csv tables/lite0
table-many: table runs/tiny-passive runs/tiny-active runs/tiny-nap runs/tiny-lsh runs/tiny-ip
compare-lite0: compare runs/lite0-passive runs/lite0-active
compare-tiny: compare passive=runs/tiny-passive active=runs/tiny-active

report-lite0: report passive=runs/lite0-passive active=runs/lite0-active
  --output_dir reports/lite0 --references_dir inputs/disc/references
report-tiny: report runs/tiny-passive runs/tiny-active runs/tiny-jpeg runs/tiny-ip
  --output_dir reports/tiny --gallery 2 --failures 3 --title "A title"
"""

BAD = """
bad-no-command:
bad-command: activte
bad-option: table runs/tiny-jpeg --no_such_option 3
bad-nothing-given: activate
bad-number: extract_fts --data_dir inputs/few --output_dir bad/1 --batch_size 0
bad-folder: extract_fts --data_dir inputs/nowhere --output_dir bad/2
bad-empty: extract_fts {tiny} --data_dir inputs/empty --output_dir bad/3
bad-inside: activate {tiny} --index indexes/tiny-pq inputs/few inputs/few/out
bad-model-file: extract_fts --data_dir inputs/few --output_dir bad/4 --model_path inputs/none.pt
bad-model: extract_fts --data_dir inputs/few --output_dir bad/5
  --model_path inputs/not_a_network.pt
bad-unreadable: extract_fts {tiny} --data_dir inputs/unreadable --output_dir bad/6
bad-other-settings: extract_fts {tiny} --data_dir inputs/few --output_dir fts/tiny/pth
  --format pth --edit_seed 1
bad-factory: train_index --fts_training_path fts/tiny/train/fts.pt --idx_factory IVF,PQ3
  bad/7
bad-features: train_index --fts_training_path inputs/not_a_network.pt --idx_factory PCA8,LSH
  bad/8
bad-nap: train_index --fts_training_path fts/tiny/train/fts.pt --idx_factory NAP2,LSH bad/9

bad-extractor: activate {tiny} --index indexes/lite0-pq inputs/few bad/10
bad-index: activate {tiny} --index inputs/few inputs/few bad/11
bad-preset: activate {tiny} --index indexes/tiny-pq inputs/few bad/12 --preset best
bad-budget: activate {tiny} --index indexes/tiny-pq inputs/few bad/13 --ssim 1.5
bad-optimizer: activate {tiny} --index indexes/tiny-pq inputs/few bad/14 --optimizer Adm
bad-other-released: activate {tiny} --index indexes/tiny-pq inputs/few released/tiny-lsh
bad-main-settings: main {tiny} {tiny-fts} {few} --idx_factory IVF4,PQ4x8np
  --output_dir runs/tiny-jpeg --active True --format png
bad-table: table runs/nowhere
bad-compare: compare runs/tiny-active runs/nowhere
bad-store-address: store info sqlite:stores/nap
bad-store-missing: store info faiss:stores/nowhere
bad-store-exists: store create faiss:stores/nap --index indexes/tiny-nap
bad-store-index: store create lance://stores/lsh --index indexes/tiny-lsh
bad-store-other: store add faiss:stores/nap released/tiny-png
bad-store-where: store get faiss:stores/nap --where "colour = 3"
bad-search-extractor: search {lite0} --store faiss:stores/nap inputs/suspects
"""

STORES = "\n".join(
    STORE.replace("E:S", address).replace("E-", f"{name}-").replace("/E", f"/{name}")
    for name, address in (("faiss", "faiss:stores"), ("lance", "lance://stores"))
)

STAGES = (
    EXTRACTION,
    TRAINING_INDEXES,
    ACTIVATION,
    f"{EXPERIMENTS}\n{STORES}\n{TINY_STORE}",
    f"{READING}\n{BAD}\n{HELP}",
)
"""Each stage needs what those before it wrote.

Blank lines separate the chains of a stage, which run side by side; indented lines continue a line.
"""


@dataclass(frozen=True)
class Step:
    """One command.

    Attributes:
        name: What its file below ``said/`` is called.
        arguments: What follows ``activeindex``; ``[MODULE]`` first runs that module of the package.
    """

    name: str
    arguments: list[str]


def chains(stage: str) -> list[list[Step]]:
    """Read the commands of a stage."""
    text = stage.replace("\n  ", " ").strip("\n")
    for word, meaning in WORDS.items():
        text = text.replace(f"{{{word}}}", meaning)
    found = []
    for chain in text.split("\n\n"):
        lines = [line.partition(":") for line in chain.splitlines() if line]
        found.append([Step(name, shlex.split(arguments)) for name, _, arguments in lines])
    return found


def run_stage(stage: str, jobs: int, forked: bool) -> None:
    """Run the chains of a stage, some at a time, in the current folder."""
    waiting = [iter(chain) for chain in chains(stage)]
    running: dict[int, tuple[Iterator[Step], Step, float]] = {}
    while waiting or running:
        if waiting and len(running) < jobs:
            chain = waiting.pop(0)
        else:
            pid, status = os.waitpid(-1, 0)
            chain, step, begun = running.pop(pid)
            keep(step, os.waitstatus_to_exitcode(status))
            print(f"{time.monotonic() - begun:6.1f} s  {step.name}", flush=True)
        following = next(chain, None)
        if following is not None:
            pid = fork(following) if forked else spawn(following)
            running[pid] = chain, following, time.monotonic()


def command(step: Step) -> tuple[str, list[str]]:
    """The module that a step runs, and its arguments."""
    if step.arguments and step.arguments[0].startswith("["):
        return f"activeindex.{step.arguments[0][1:-1]}", step.arguments[1:]
    return "activeindex", step.arguments


def streams(step: Step) -> list[tuple[int, str, int]]:
    """File descriptors, files and flags of a step's standard streams."""
    write = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    output, error = f"said/{step.name}.output", f"said/{step.name}.error"
    return [(0, os.devnull, os.O_RDONLY), (1, output, write), (2, error, write)]


def spawn(step: Step) -> int:
    """Start a command as a user does; returns its process id."""
    module, arguments = command(step)
    actions = [(os.POSIX_SPAWN_OPEN, *stream, 0o644) for stream in streams(step)]
    line = [sys.executable, "-m", module, *arguments]
    return os.posix_spawn(sys.executable, line, os.environ, file_actions=actions)


def fork(step: Step) -> int:
    """Start a command in a copy of this process, which has imported the slow packages already."""
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        for descriptor, path, flags in streams(step):
            os.dup2(os.open(path, flags, 0o644), descriptor)
        module, arguments = command(step)
        sys.argv = [module, *arguments]
        runpy.run_module(module, run_name="__main__", alter_sys=True)
        sys.exit()
    return pid


def keep(step: Step, code: int) -> None:
    """Write what a command said to one file, and warn if it ended otherwise than expected."""
    module, arguments = command(step)
    said = []
    for _, path, _ in streams(step)[1:]:
        said.append(Path(path).read_text())
        Path(path).unlink()
    Path(f"said/{step.name}.txt").write_text(
        f"$ {module} {shlex.join(arguments)}\n--- exit code\n{code}\n"
        f"--- standard output\n{said[0]}\n--- standard error\n{said[1]}\n"
    )
    expected = 2 if step.name.startswith("bad-") or step.name.endswith("-absent") else 0
    if code != expected:
        print(f"{step.name}: exit code {code}\n{said[1]}", file=sys.stderr)


def prepare(forked: bool) -> None:
    """Set up the environment that commands inherit: one thread each, absolute paths."""
    paths = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    os.environ["PYTHONPATH"] = os.pathsep.join(str(Path(path).resolve()) for path in paths)
    os.environ |= {"OMP_WAIT_POLICY": "PASSIVE", "OMP_NUM_THREADS": "1", "COLUMNS": "100"}
    sys.path[:] = [str(Path(path).resolve()) for path in sys.path[1:]]
    if forked:
        import faiss  # noqa: F401
        import torch  # noqa: F401


def main() -> None:
    """Make the inputs, run the stages."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("out", type=Path, help="folder to fill; must not exist")
    parser.add_argument("--inputs", type=Path, help="made if missing (default: OUT.inputs)")
    parser.add_argument("--jobs", type=int, default=2, help="commands at a time (default: 2)")
    parser.add_argument(
        "--fork",
        action="store_true",
        help="import PyTorch and FAISS once, not in each command: half the time, same results",
    )
    options = parser.parse_args()
    root = options.out.resolve()
    inputs = options.inputs or root.with_name(f"{root.name}.inputs")
    if not inputs.exists():
        partial = inputs.with_name(f"{inputs.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        make_inputs(partial)
        partial.rename(inputs)
    (root / "said").mkdir(parents=True)
    shutil.copytree(inputs, root / "inputs")
    prepare(options.fork)
    os.chdir(root)
    begun = time.monotonic()
    for stage in STAGES:
        run_stage(stage, options.jobs, options.fork)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = used.ru_utime + used.ru_stime
    print(f"{time.monotonic() - begun:6.1f} s in all, {cpu:.0f} s of CPU: {root}")


if __name__ == "__main__":
    main()
