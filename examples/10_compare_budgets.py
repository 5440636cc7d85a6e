"""Does more distortion find more copies? Recall at several PSNRs, for two presets."""

from pathlib import Path

from pictures import collection, pictures

import activeindex as ai

EDITS = ["center_crop 0.5", "rotation 25", "blur 11"]
references = ai.extract(collection())


def recall(released: Path | ai.ActivationResult) -> float:
    """Mean recall at 1 over the edits."""
    result = ai.evaluate(pictures(), released, references=references, edits=EDITS)
    return result.recall.average.r_at_1


print(f"passive: R@1 {recall(pictures()):.3f}")
for preset in ("paper", "fast"):
    for psnr in (38, 42, 46):
        released = ai.activate(pictures(), preset=preset, psnr=psnr)
        print(f"{preset}, {released.psnr:.1f} dB: R@1 {recall(released):.3f}")
