"""Test images of the MedMNIST collection, where its cache holds them (optional; never downloaded by itself)."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.errors import DataError, Unavailable
from models.types import Case, Image, Modality, Provenance
from sample_data.entry import SampleEntry, balanced, finish

_LIMIT = 24
_CITATION = "Yang et al., MedMNIST v2, Scientific Data 2023, doi:10.1038/s41597-022-01721-8"


@dataclass(frozen=True)
class MedMnistSet:
    """One set of the collection.

    Attributes:
        python_class: its name in the medmnist package.
        classes: in the order of its label columns or codes.
        exclusive: one class an image; otherwise one column a class.
    """

    flag: str
    python_class: str
    system: str
    modality: Modality
    licence: str
    classes: tuple[str, ...]
    exclusive: bool


SETS = (
    MedMnistSet(
        "chestmnist", "ChestMNIST", "chest-xray-14", Modality.XRAY, "CC BY 4.0 (images: NIH Clinical Center)",
        ("Atelectasis", "Cardiomegaly", "Effusion", "Infiltration", "Mass", "Nodule", "Pneumonia", "Pneumothorax",
         "Consolidation", "Edema", "Emphysema", "Fibrosis", "Pleural Thickening", "Hernia"), False,
    ),
    MedMnistSet(
        "dermamnist", "DermaMNIST", "skin-lesion-7", Modality.DERMOSCOPY, "CC BY-NC 4.0",
        ("Actinic keratosis", "Basal cell carcinoma", "Benign keratosis", "Dermatofibroma", "Melanoma",
         "Melanocytic nevus", "Vascular lesion"), True,
    ),
    MedMnistSet(
        "nodulemnist3d", "NoduleMNIST3D", "lung-cancer-ct", Modality.CT, "CC BY 4.0", ("Benign", "Malignant"), True,
    ),
)  # fmt: skip


def cache_folder() -> Path:
    """Where the medmnist package keeps its files."""
    return Path.home() / ".medmnist"


def entries(folder: Path) -> tuple[SampleEntry, ...]:
    """Test cases of the sets found in ``folder``; a file that is broken lists nothing."""
    found: list[SampleEntry] = []
    for one in SETS:
        path = folder / f"{one.flag}.npz"
        if not path.is_file():
            continue
        try:
            labels = _array(path, "test_labels")
        except DataError:
            continue
        chosen = balanced([int(i) for i in range(min(len(labels), 4000))], partial(_classes_of, one, labels), _LIMIT)
        found += [_entry(one, path, i, _classes_of(one, labels, i)) for i in sorted(chosen)]
    return tuple(found)


def fetch(flags: Sequence[str] | None = None) -> tuple[Path, ...]:
    """Let the medmnist package download sets (None: all on offer) into its cache; the files, in order.

    Raises:
        DataError: for a set that is not offered.
        Unavailable: the package is not installed, or there is no network.
    """
    known = {one.flag: one for one in SETS}
    flags = tuple(known) if flags is None else flags
    for flag in flags:
        if flag not in known:
            raise DataError(f"There is no MedMNIST set {flag!r} on offer; known: {', '.join(known)}.")
    try:
        import medmnist
    except ImportError as error:
        raise Unavailable(
            "Fetching needs the optional package medmnist; install it with: pip install medmnist."
        ) from error
    folder = cache_folder()
    paths = []
    for flag in flags:
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            getattr(medmnist, known[flag].python_class)(split="test", download=True, root=str(folder))
        except (RuntimeError, OSError) as error:
            raise Unavailable(
                f"The MedMNIST set {flag} could not be downloaded; connect to a network and try again."
            ) from error
        paths.append(folder / f"{flag}.npz")
    return tuple(paths)


def _array(path: Path, name: str) -> NDArray[np.generic]:
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            return np.asarray(archive[name])
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"The MedMNIST file {path.name} cannot be read; delete it and fetch it again.") from error


def _classes_of(one: MedMnistSet, labels: NDArray[np.generic], index: int) -> tuple[str, ...]:
    row = np.asarray(labels[index]).ravel()
    if one.exclusive:
        return (one.classes[int(row[0])],)
    return tuple(name for name, value in zip(one.classes, row, strict=True) if value) or ("none",)


def _entry(one: MedMnistSet, path: Path, index: int, truth: tuple[str, ...]) -> SampleEntry:
    return SampleEntry(
        id=f"{one.flag}-{index:05d}",
        title=f"{one.python_class} test {index}",
        system=one.system,
        kind="folder",
        modality=one.modality,
        source=f"{one.python_class}, MedMNIST cache",
        licence=one.licence,
        citation=_CITATION,
        labels={name: name in truth for name in one.classes},
        load=partial(_load, path, index),
    )


def _load(path: Path, index: int, entry: SampleEntry) -> Case:
    pictures = _array(path, "test_images")
    if index >= len(pictures):
        raise DataError(f"The MedMNIST file {path.name} has no test image {index}; delete it and fetch it again.")
    stored = np.asarray(pictures[index])
    unit = stored.astype(np.float32) / np.float32(255)
    # (H, W, 3) colour, (H, W) grey or (D, H, W) volume.
    is_colour = stored.ndim == 3 and stored.shape[-1] == 3
    values = np.ascontiguousarray(unit.transpose(2, 0, 1)) if is_colour else unit[None]
    provenance = Provenance(entry.source, hashlib.sha256(stored.tobytes()).hexdigest(), "medmnist", entry.licence)
    image = Image(values, "unit interval", entry.modality)
    return finish(entry, Case(entry.id, entry.title, image, provenance))
