"""Frozen values as bytes and back: arrays as safetensors, the rest as JSON in its metadata. No pickle.

What bytes are read as is said by whoever reads them, as a type, and only the dataclasses that this type is made of are
ever built: a message names no class.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from models.errors import DataError, SightlineError

_TREE = "tree"
_Array = NDArray[Any]


def encode(value: object) -> bytes:
    """A dataclass, tuple, mapping, array or plain value, and what it holds, as bytes.

    Arrays keep shape, type and every bit. Whole numbers in float32, as scanners give them, take two bytes each, and masks a
    bit. An array that the value holds in several places is sent once.
    """
    arrays = _Arrays()
    tree = _plain(value, arrays)
    return save(arrays.by_name, {_TREE: json.dumps(tree)})


def decode(data: bytes, kind: Any) -> Any:
    """What :func:`encode` made of a value of that type; its arrays are read-only.

    Args:
        kind: a dataclass, ``tuple[...]``, ``Mapping[str, ...]``, ``NDArray[...]``, plain type or union of such.

    Raises:
        DataError: the bytes are damaged, or hold something else.
    """
    try:
        arrays = load(data)
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        return _Reader(arrays).read(json.loads(header["__metadata__"][_TREE]), kind)
    except DataError:
        raise
    except (SafetensorError, SightlineError, ValueError, TypeError, KeyError, IndexError, RecursionError) as error:
        raise DataError(
            f"A message between dashboard and server cannot be read ({type(error).__name__}); "
            "see that both are of the same version, and try again."
        ) from None


class _Arrays:
    """Arrays of one message."""

    def __init__(self) -> None:
        self.by_name: dict[str, _Array] = {}
        self._nodes: dict[int, list[Any]] = {}

    def add(self, array: _Array) -> list[Any]:
        """Where it is found again: its name, how it is coded, and its shape."""
        known = self._nodes.get(id(array))  # the value, which lives on meanwhile, holds it
        if known is None:
            name = str(len(self.by_name))
            coding, coded = _coded(array)
            self.by_name[name] = np.require(coded, requirements="C")
            known = self._nodes[id(array)] = [name, coding, list(array.shape)]
        return known


def _coded(array: _Array) -> tuple[str, _Array]:
    """The shorter form of an array that loses nothing, and its name."""
    if array.dtype == np.bool_:
        return "bits", np.packbits(array)
    if array.dtype == np.float32 and array.size:
        whole = array.astype(np.int16) if np.abs(array).max() < 2**15 else None  # not so where one is NaN
        if whole is not None and np.array_equal(whole.astype(np.float32).view(np.uint32), _bits(array)):
            return "whole", whole
    return "", array


def _bits(array: _Array) -> _Array:
    return np.require(array, requirements="C").view(np.uint32)


def _plain(value: Any, arrays: _Arrays) -> Any:
    if isinstance(value, np.ndarray):
        return arrays.add(value)
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Enum):
        return value.value
    if is_dataclass(value):
        return {one.name: _plain(getattr(value, one.name), arrays) for one in fields(value)}
    if isinstance(value, Mapping):
        return {str(name): _plain(held, arrays) for name, held in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(held, arrays) for held in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"A {type(value).__name__} is no part of a message.")


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


class _Reader:
    """Builds a type from JSON and arrays; raises ValueError or TypeError where they do not fit."""

    def __init__(self, arrays: Mapping[str, _Array]) -> None:
        self._arrays = dict(arrays)
        self._decoded: dict[str, _Array] = {}

    def read(self, tree: Any, kind: Any) -> Any:
        origin, inner = get_origin(kind), get_args(kind)
        if origin in (Union, UnionType):
            return self._any(tree, inner)
        if origin is Literal:
            return _same(tree, tree in inner)
        if origin is np.ndarray:
            return self._array(tree, np.dtype(get_args(inner[1])[0]))
        if origin is tuple:
            if len(inner) == 2 and inner[1] is ...:
                return tuple(self.read(one, inner[0]) for one in _same(tree, isinstance(tree, list)))
            pairs = zip(_same(tree, isinstance(tree, list)), inner, strict=True)
            return tuple(self.read(one, one_kind) for one, one_kind in pairs)
        if origin is not None and issubclass(origin, Mapping):
            return {name: self.read(one, inner[1]) for name, one in _same(tree, isinstance(tree, dict)).items()}
        if isinstance(kind, type) and issubclass(kind, Enum):
            return kind(tree)
        if is_dataclass(kind) and isinstance(kind, type):
            hints = _hints(kind)
            return kind(
                **{name: self.read(one, hints[name]) for name, one in _same(tree, isinstance(tree, dict)).items()}
            )
        if kind is float:  # whole numbers stay so: what is hashed of them is their spelling
            return _same(tree, type(tree) in (int, float))
        if kind in (bool, int, str, NoneType):
            return _same(tree, type(tree) is kind)
        raise TypeError(f"{kind} is no part of a message.")

    def _any(self, tree: Any, kinds: Sequence[Any]) -> Any:
        if tree is None and NoneType in kinds:
            return None
        for kind in kinds:
            try:
                return self.read(tree, kind)
            except (ValueError, TypeError):
                continue
        raise ValueError("none of several types")

    def _array(self, tree: Any, dtype: np.dtype[Any]) -> _Array:
        name, coding, shape = tree
        if name not in self._decoded:
            self._decoded[name] = _uncoded(self._arrays[name], coding, tuple(shape))
        array = self._decoded[name]
        return _same(array, array.dtype == dtype)


def _uncoded(array: _Array, coding: str, shape: tuple[int, ...]) -> _Array:
    if coding == "bits":
        count = math.prod(shape)
        _same(array, array.size == -(-count // 8))
        array = np.unpackbits(array, count=count).astype(np.bool_).reshape(shape)
    elif coding == "whole":
        array = array.astype(np.float32)
    if array.shape != shape:
        raise ValueError("shape")
    array.setflags(write=False)
    return array


def _same(tree: Any, fits: bool) -> Any:
    if not fits:
        raise ValueError("another type")
    return tree
