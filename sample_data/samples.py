"""The sample cases: real ones from installed packages, committed crops, phantoms, and a data folder where there is one.

``manifest.toml`` lists all; nothing here downloads by itself.
"""

from __future__ import annotations

import difflib
import functools
import importlib.util
import os
import tomllib
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

from models.errors import DataError, Unavailable
from models.types import Case, Modality
from sample_data import medmnist
from sample_data.entry import SampleEntry, finish, read_region, read_sample
from sample_data.folders import FOLDER_SETS
from sample_data.phantoms import make

HERE = Path(__file__).parent
SYSTEMS = ("lung-cancer-ct", "chest-xray-14", "brain-tumor-mri", "skin-lesion-7", "pneumonia-ct")

# Top-level module that each package installs, and the folder of its images.
_PACKAGES = {"pydicom-data": ("data_store", "data"), "pydicom": ("pydicom", "data/test_files")}

__all__ = ["SYSTEMS", "SampleEntry", "data_folder", "fetch", "list_samples", "load_sample", "manifest", "package_file"]


def list_samples() -> tuple[SampleEntry, ...]:
    """All samples that this machine can show, without decoding any: phantoms, crops, packages, data folder.

    Raises:
        DataError: ``SIGHTLINE_DATA`` names something that is not a folder.
    """
    return tuple(_entries(data_folder(), medmnist.cache_folder()).values())


def load_sample(sample_id: str) -> Case:
    """Read or draw one sample.

    Raises:
        DataError: there is no such sample, or its file is broken.
        Unavailable: it comes from a package that is not installed.
    """
    known = _entries(data_folder(), medmnist.cache_folder())
    entry = known.get(sample_id)
    if entry is None:
        raise DataError(f"There is no sample {sample_id!r}; known ids: {_hint(sample_id, tuple(known))}.")
    return entry.load(entry)


def data_folder() -> Path | None:
    """The folder of labelled images: ``SIGHTLINE_DATA``, else ``../shared/data`` beside the project, else None.

    Raises:
        DataError: ``SIGHTLINE_DATA`` names something that is not a folder.
    """
    named = os.environ.get("SIGHTLINE_DATA", "")
    if named:
        if not Path(named).is_dir():
            raise DataError("SIGHTLINE_DATA does not name a folder; correct it or unset it.")
        return Path(named)
    beside = HERE.parent.parent / "shared" / "data"
    return beside if beside.is_dir() else None


def fetch(flags: Sequence[str] | None = None) -> tuple[Path, ...]:
    """Fill the MedMNIST cache where there is a network; see :func:`sample_data.medmnist.fetch`.

    Raises:
        DataError: for a set that is not offered.
        Unavailable: the medmnist package or a network is missing.
    """
    paths = medmnist.fetch(flags)
    _entries.cache_clear()
    return paths


@functools.cache
def manifest() -> tuple[Mapping[str, Any], ...]:
    """The entries of ``manifest.toml``, in order."""
    with (HERE / "manifest.toml").open("rb") as stream:
        return tuple(MappingProxyType(entry) for entry in tomllib.load(stream)["sample"])


def package_file(package: str, name: str) -> Path | None:
    """A file inside an installed package, found without importing it; None where it is absent."""
    module, folder = _PACKAGES[package]
    spec = importlib.util.find_spec(module)
    for place in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(place) / folder / name
        if path.is_file():
            return path
    return None


@functools.lru_cache(maxsize=4)
def _entries(folder: Path | None, cache: Path) -> Mapping[str, SampleEntry]:
    listed = (_from_manifest(item) for item in manifest() if item["kind"] != "folder")
    found = [entry for entry in listed if entry is not None]
    if folder is not None:
        found += [entry for dataset in FOLDER_SETS for entry in dataset.entries(folder)]
    found += medmnist.entries(cache)
    return MappingProxyType({entry.id: entry for entry in found})


def _from_manifest(item: Mapping[str, Any]) -> SampleEntry | None:
    """An entry, or None for a sample of a package that is not installed."""
    kind = item["kind"]
    if kind == "package" and package_file(item["package"], item["file"]) is None:
        return None
    return SampleEntry(
        id=item["id"],
        title=item["title"],
        system=item["system"],
        kind=kind,
        modality=Modality(item["modality"]),
        source=item["source"],
        licence=item["licence"],
        citation=item.get("citation", ""),
        sha256=item.get("sha256", ""),
        labels=item.get("labels", {}),
        attributes=item.get("attributes", {}),
        load=partial({"package": _load_package, "committed": _load_committed, "phantom": _load_phantom}[kind], item),
    )


def _load_package(item: Mapping[str, Any], entry: SampleEntry) -> Case:
    path = package_file(item["package"], item["file"])
    if path is None:
        raise Unavailable(
            f"The sample {entry.id!r} comes with the package {item['package']}; install it with: pip install {item['package']}."
        )
    return read_sample(entry, path)


def _load_committed(item: Mapping[str, Any], entry: SampleEntry) -> Case:
    regions = item.get("regions", {})
    return read_sample(
        entry,
        HERE / item["file"],
        lambda image: [read_region(name, HERE / part["file"], image) for name, part in regions.items()],
    )


def _load_phantom(item: Mapping[str, Any], entry: SampleEntry) -> Case:
    case = make(item["generator"], item["seed"], **item.get("params", {}))
    return finish(entry, case)


def _hint(sample_id: str, known: tuple[str, ...]) -> str:
    """The ids most like the one asked for, or the first few."""
    close = difflib.get_close_matches(sample_id, known, n=5, cutoff=0.3) or list(known[:5])
    more = len(known) - len(close)
    return ", ".join(close) + (f" and {more} more" if more > 0 else "")
