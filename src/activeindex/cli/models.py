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
        cached, packaged = cached_path(card), packaged_path(card)
        known = card.packaged is None and cached.is_file()
        here = str(cached) if known else str(packaged) if packaged else None
        place = None if card.packaged else str(cached)
        default = card.name == DEFAULT_EXTRACTOR
        rows.append({**asdict(card), "default": default, "default_place": place, "here": here})
    if args.json:
        print(json.dumps(rows, indent=2))
        return
    for row in rows:
        print(
            f"{row['name']:<20}{row['trunk']:<20}{row['dimension']:>5} dimensions"
            f"{row['input_size']:>5} px  {row['licence']}{'  (the default)' * row['default']}"
        )
        source = row["address"] or "activeindex itself"
        print(f"    from {source}")
        if row["here"] is None and row["default_place"] is None:
            print("    not here: this installation of activeindex lacks it")
        elif row["here"] is None:
            print(f"    not here; would be kept as {row['default_place']}")
        else:
            print(f"    here: {row['here']}")
    print(
        "\nBesides these: timm:NAME, torchvision:NAME, and TorchScript, ONNX and .safetensors "
        "files."
    )
