"""Write a network's weights as safetensors, and their digest into card.toml: ``python export.py checkpoint.pt``."""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

DIGEST = re.compile(r'(\[weights\][^\[]*?sha256 = ")[^"]*(")')


def export(network: nn.Module, weights: str | Path, card: str | Path) -> None:
    """Write the network's weights, and pin them in the card."""
    write(network.state_dict(), Path(weights), Path(card))


def write(state: Mapping[str, torch.Tensor], weights: Path, card: Path) -> None:
    """Write named tensors, and pin them in the card."""
    # Each tensor on its own: safetensors refuses tensors that share memory.
    save_file({name: value.detach().cpu().clone().contiguous() for name, value in state.items()}, weights)
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    text, found = DIGEST.subn(rf"\g<1>{digest}\g<2>", card.read_text(encoding="utf-8"), count=1)
    if not found:
        raise SystemExit(f"{card} has no line 'sha256 = \"...\"' under [weights]; add one and run this again.")
    card.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit("Name the checkpoint: python export.py checkpoint.pt")
    loaded = torch.load(sys.argv[1], map_location="cpu", weights_only=True)
    write(loaded.get("state_dict", loaded), Path("weights.safetensors"), Path("card.toml"))
