"""The method as plainly as it is described, with nothing done for speed.

Benchmarks compare with it; nothing else imports it, and it is not a command. It computes in float32
in PyTorch's default layout, with distortions at full size, one image at a time around a batched
network. It gets targets by adding the batch to the index, rebuilding its direct map and
reconstructing, and edits in the main process.
"""

from collections.abc import Callable, Sequence

import faiss
import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from PIL import Image

from activeindex.activation.perceptual import jnd_map
from activeindex.edits.edited import edit_generator
from activeindex.edits.lists import FIXED_LIST
from activeindex.extractors.named import load_extractor
from activeindex.images.levels import Pixels, resize_square, to_pixels, to_tensor

MEAN = torch.tensor((0.485, 0.456, 0.406)).view(3, 1, 1)
STD = torch.tensor((0.229, 0.224, 0.225)).view(3, 1, 1)
CHANNELS = torch.tensor((0.072 / 0.299, 0.072 / 0.587, 0.072 / 0.114)).view(3, 1, 1)

Network = Callable[[torch.Tensor], torch.Tensor]
"""Maps normalised images ``(B, 3, S, S)`` to features ``(B, d)``."""


def plain_network(name: str, size: int | None = None) -> tuple[Network, int]:
    """An extractor's network without our memory layout, and the side of the images it takes."""
    extractor = load_extractor(name, size)
    extractor.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    mean, std = MEAN.to(extractor.device), STD.to(extractor.device)
    network = extractor.network

    def run(images: torch.Tensor) -> torch.Tensor:
        pixels = images * std + mean
        if getattr(network, "input_dtype", None) == "uint8":
            pixels = pixels * 255.0
            return network(pixels.permute(0, 2, 3, 1) if network.layout == "NHWC" else pixels)
        return network((pixels - extractor.mean) / extractor.std)

    return run, extractor.input_size


def activate_plainly(
    images: Sequence[Pixels],
    network: Network,
    size: int,
    index: faiss.Index,
    *,
    iterations: int = 10,
    scaling: float = 3.0,
    lambda_i: float = 1e-2,
    seed: int = 0,
    device: str = "cpu",
) -> list[Pixels]:
    """Activates a batch: method.md line by line."""
    torch.manual_seed(seed)
    mean, std, channels = MEAN.to(device), STD.to(device), CHANNELS.to(device)
    pixels = [to_tensor(image).to(device) for image in images]
    originals = [(image - mean) / std for image in pixels]
    masks = [jnd_map(image.unsqueeze(0)).squeeze(0) for image in pixels]
    with torch.no_grad():
        resized = torch.stack([resize_square(image, size) for image in originals])
        features = network(resized)
    first = index.ntotal
    index.add(features.cpu().numpy())
    faiss.extract_index_ivf(index).make_direct_map()
    rows = [index.reconstruct(first + row) for row in range(len(images))]
    targets = torch.from_numpy(np.stack(rows)).to(device)
    free = [(1e-6 * torch.randn_like(image)).requires_grad_() for image in originals]
    optimiser = torch.optim.Adam(free, lr=1.0)

    def distorted() -> list[torch.Tensor]:
        parts = []
        for image, delta, mask in zip(originals, free, masks, strict=True):
            parts.append(image + torch.tanh(delta) * channels * scaling * mask)
        return parts

    for _ in range(iterations):
        full = distorted()
        features = network(torch.stack([resize_square(image, size) for image in full]))
        loss_f = -F.cosine_similarity(features, targets, dim=1).mean()
        errors = [F.mse_loss(image, o) for image, o in zip(full, originals, strict=True)]
        loss = loss_f + lambda_i * torch.stack(errors).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    with torch.no_grad():
        return [to_pixels(image * std + mean) for image in distorted()]


def edited_features_plainly(
    images: Sequence[Pixels], network: Network, size: int, *, seed: int = 0, batch: int = 128
) -> npt.NDArray[np.float32]:
    """Features ``(edits * n, d)`` of the fixed list of edits, edit by edit."""
    features = []
    for edit in FIXED_LIST:
        for first in range(0, len(images), batch):
            rows = []
            for number, pixels in enumerate(images[first : first + batch], start=first):
                edited = edit(Image.fromarray(pixels), edit_generator(seed, number)).image
                rows.append(resize_square((to_tensor(edited) - MEAN) / STD, size))
            with torch.no_grad():
                features.append(network(torch.stack(rows)).numpy())
    return np.concatenate(features)
