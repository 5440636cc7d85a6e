"""List the named extractors.

For each: the network, the dimension of its features, the input size in pixels, the licence of its
weights, their address, and their path on this machine. Missing weights are downloaded at the first
use.
"""

import argparse


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("--json", action="store_true", help="print a JSON array instead")


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    import json
    from dataclasses import asdict

    from activeindex.extractors.cards import CARDS, DEFAULT_EXTRACTOR
    from activeindex.extractors.weights import cached_path, packaged_path

    rows = []
    for card in CARDS.values():
        place = None if card.packaged else cached_path(card)
        here = place if place and place.is_file() else packaged_path(card)
        row = {**asdict(card), "default": card.name == DEFAULT_EXTRACTOR}
        row |= {"default_place": place and str(place), "here": here and str(here)}
        rows.append(row)
    if args.json:
        print(json.dumps(rows, indent=2))
        return
    for row in rows:
        print(
            f"{row['name']:<20}{row['trunk']:<20}{row['dimension']:>5} dimensions"
            f"{row['input_size']:>5} px  {row['licence']}{'  (the default)' * row['default']}"
        )
        print(f"    from {row['address'] or 'activeindex itself'}")
        if row["here"]:
            print(f"    here: {row['here']}")
        elif row["default_place"]:
            print(f"    not here; would be kept as {row['default_place']}")
        else:
            print("    not here: this installation of activeindex lacks it")
    print("\nBesides: timm:NAME, torchvision:NAME, TorchScript, ONNX and .safetensors files.")
