"""Weights from disk into a network, trusting nothing: digests checked, pickled code refused."""

from __future__ import annotations

import hashlib
import pickle
import warnings
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from models.errors import ModelError

_WRAPPERS = ("state_dict", "model_state_dict", "model")
_PREFIXES = ("module.", "_orig_mod.", "model.", "net.")


def sha256_of(path: Path) -> str:
    """Hex SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_tensors(path: Path, sha256: str) -> dict[str, torch.Tensor]:
    """Named tensors of a ``.safetensors`` file or a ``.pt``/``.pth`` state dict.

    Raises:
        ModelError: the file is missing, has another digest, holds code, or is not a state dict.
    """
    if not path.is_file():
        raise ModelError(f"The file {path.name!r} named in the card is missing; put it beside card.toml.")
    found = sha256_of(path)
    if found != sha256:
        raise ModelError(
            f"weights.sha256 does not match {path.name}: the card says {sha256[:12]}..., the file is {found[:12]}...; one of them was changed."
        )
    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except (SafetensorError, ValueError) as error:
            raise ModelError(f"{path.name} is not a readable safetensors file: {error}.") from None
    if path.suffix not in (".pt", ".pth"):
        raise ModelError(f"weights.file must end in .safetensors, .pt or .pth, got {path.name!r}.")
    try:
        with warnings.catch_warnings():  # torch warns of the very files that are refused below
            warnings.simplefilter("ignore")
            state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise ModelError(
            f"{path.name} holds pickled code, which is never run; save the state dict alone: torch.save(model.state_dict(), ...)."
        ) from None
    except (RuntimeError, EOFError, ValueError, KeyError) as error:
        raise ModelError(f"{path.name} is not a readable PyTorch file: {str(error).splitlines()[0]}.") from None
    for wrapper in _WRAPPERS:
        if isinstance(state, dict) and isinstance(state.get(wrapper), dict):
            state = state[wrapper]
    if not isinstance(state, dict) or not state or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise ModelError(
            f"{path.name} does not hold a state dict of tensors; save it with torch.save(model.state_dict(), ...)."
        )
    return {str(name): value for name, value in state.items()}


def load_into(module: nn.Module, tensors: dict[str, torch.Tensor], classes: int, file: str) -> None:
    """Copy tensors into the network, in the network's own precision.

    Prefixes that wrappers add to every name ("module.", "model.") are dropped where the network has none.

    Raises:
        ModelError: a tensor is missing, is left over, or has another shape.
    """
    own = module.state_dict()
    tensors = _without_prefix(tensors, own)
    missing = [name for name in own if name not in tensors and not name.endswith("num_batches_tracked")]
    if missing:
        raise ModelError(
            f"weights.file {file} lacks {missing[0]!r} ({len(missing)} missing of {len(own)}); is card field architecture right?"
        )
    extra = [name for name in tensors if name not in own]
    if extra:
        raise ModelError(
            f"weights.file {file} holds {extra[0]!r}, which the network does not have ({len(extra)} such); is card field architecture right?"
        )
    wrong = [name for name in tensors if tensors[name].shape != own[name].shape]
    if wrong:
        here, there = tuple(tensors[wrong[0]].shape), tuple(own[wrong[0]].shape)
        if here[1:] == there[1:] and there[0] == classes:
            raise ModelError(
                f"Card field classes lists {classes} names, but the weights in {file} have {here[0]} outputs ({wrong[0]})."
            )
        raise ModelError(
            f"weights.file {file}: {wrong[0]!r} has shape {here}, the network needs {there}; is card field architecture right?"
        )
    module.load_state_dict(tensors, strict=False)


def _without_prefix(tensors: dict[str, torch.Tensor], own: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    changed = bool(tensors)
    while changed:
        changed = False
        for prefix in _PREFIXES:
            if all(name.startswith(prefix) for name in tensors) and not all(name.startswith(prefix) for name in own):
                tensors = {name.removeprefix(prefix): value for name, value in tensors.items()}
                changed = True
    return tensors
