"""Images with a known place, by model: what a test part or a phantom marks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image as PILImage

from models.errors import DataError
from models.training.pictures import read
from models.training.recipe import GROUP, ID, RECIPES, SPLIT
from models.types import Case, Image, Modality
from sample_data.entry import read_region
from sample_data.phantoms import make

FRAME = 1024  # px of the published boxes


@dataclass(frozen=True, eq=False)
class Known:
    """An image, the class that is there, and where."""

    image: Image
    mask: NDArray[np.bool_]
    target: str
    group: str


@dataclass(frozen=True)
class Source:
    """A set: a name for people, what to know of it, and its cases."""

    id: str
    name: str
    note: str
    cases: Callable[[Path, int], Iterator[Known]]


def _spread(rows: pd.DataFrame, count: int) -> list[dict[str, object]]:
    rows = rows.sort_values(ID)
    return rows.iloc[np.unique(np.linspace(0, len(rows) - 1, min(count, len(rows))).round().astype(int))].to_dict(
        "records"
    )


def _test(model: str, data: Path) -> tuple[pd.DataFrame, Path]:
    recipe = RECIPES.get(model)
    folder = data / recipe.folder
    rows = recipe.rows(folder)
    return rows[rows[SPLIT] == "test"], folder


def lesions(data: Path, count: int) -> Iterator[Known]:
    recipe = RECIPES.get("skin-lesion-7")
    rows, folder = _test(recipe.id, data)
    rows = rows[[(folder / "masks" / f"{name}.png").exists() for name in rows[ID]]]
    for row in _spread(rows, count):
        with PILImage.open(folder / "masks" / f"{row[ID]}.png") as file:
            mask = np.asarray(file.convert("L")) > 127
        name = next(one for one in recipe.classes if row[one] == 1)
        yield Known(recipe.image(folder, row), mask, name, str(row[GROUP]))


def nodules(data: Path, count: int) -> Iterator[Known]:
    recipe = RECIPES.get("lung-nodule")
    rows, folder = _test(recipe.id, data)
    for row in _spread(rows[rows.Malignant == 1], count):
        image = recipe.image(folder, row)
        volume = image.within[0] if image.within else image
        mask = read_region("nodule", folder / "nodule_mask" / str(row["file"]), volume).mask
        if mask is not None and mask[volume.depth // 2].any():
            yield Known(image, mask[volume.depth // 2], "Malignant", str(row[GROUP]))


def infections(data: Path, count: int) -> Iterator[Known]:
    recipe = RECIPES.get("pneumonia-ct")
    rows, folder = _test(recipe.id, data)
    for row in _spread(rows, count):
        assert recipe.mask is not None
        yield Known(recipe.image(folder, row), recipe.mask(folder, row)[0], "Infection", str(row[GROUP]))


def boxes(data: Path, count: int) -> Iterator[Known]:
    """Boxes of films outside the training part, at 512 px where the film is held so."""
    folder = data / "nih_cxr14"
    small = pd.read_csv(folder / "labels_128.csv").set_index("image")
    large = pd.read_csv(folder / "labels_512.csv").set_index("image")
    table = pd.read_csv(folder / "bbox.csv").sort_values(["image", "finding"]).head(10 * count)
    for row in table.to_dict("records"):
        name = row["image"]
        labels = large if name in large.index else small
        if name in small.index and small.loc[name, "split_chexnet"] == "train":
            continue
        path = folder / ("images_512" if name in large.index else "images_128") / name
        if not path.exists():
            continue
        image = read(path, Modality.XRAY)
        scale = image.plane_shape[0] / FRAME
        left, top = row["x_1024"] * scale, row["y_1024"] * scale
        mask = np.zeros(image.plane_shape, dtype=bool)
        right, bottom = left + row["w_1024"] * scale, top + row["h_1024"] * scale
        mask[round(top) : max(round(top) + 1, round(bottom)), round(left) : max(round(left) + 1, round(right))] = True
        finding = {"Infiltrate": "Infiltration"}.get(row["finding"], row["finding"])
        yield Known(image, mask, finding, str(labels.loc[name, "patient_id"]))


def _phantom(name: str, target: str, region: str, **params: int | float | str | bool) -> Callable[[int], Known]:
    def drawn(seed: int) -> Known:
        case: Case = make(name, seed, **params)
        found = next((one.mask for one in case.regions if one.name.startswith(region)), None)
        if found is None:
            raise DataError(f"The phantom {name!r} has no region {region!r}.")
        return Known(case.image, found, target, str(seed))

    return drawn


def _phantoms(*kinds: Callable[[int], Known]) -> Callable[[Path, int], Iterator[Known]]:
    def cases(data: Path, count: int) -> Iterator[Known]:
        for seed in range(count):
            yield kinds[seed % len(kinds)](seed)

    return cases


DRAWN = "Drawings, not patients: the network was not made for them, and whether it calls them is part of the result."
SOURCES: dict[str, tuple[Source, ...]] = {
    "skin-lesion-7": (Source("ham10000", "HAM10000, lesion masks", "Test lesions; the class explained is the true one.", lesions),),
    "lung-nodule": (Source("lidc", "LIDC-IDRI, nodule masks", "Malignant nodules of the test part, middle slice.", nodules),),
    "pneumonia-ct": (Source("covid-semiseg", "COVID-SemiSeg, infection masks", "Test slices; no patients are named.", infections),),
    "chest-xray-14": (
        Source("nih-boxes", "NIH ChestX-ray14, radiologists' boxes", "Boxes on films that were not trained on; few.", boxes),
        Source(
            "phantoms",
            "Phantoms: chest film",
            DRAWN,
            _phantoms(
                _phantom("chest-film", "Nodule", "Nodule", finding="nodule"),
                _phantom("chest-film", "Effusion", "Effusion", finding="effusion"),
                _phantom("chest-film", "Consolidation", "Consolidation", finding="consolidation"),
                _phantom("chest-film", "Cardiomegaly", "Cardiomegaly", finding="cardiomegaly", cardiothoracic_ratio=0.6),
            ),
        ),
    ),
    "lung-cancer-ct": (
        Source(
            "phantoms",
            "Phantoms: lung nodule on CT",
            DRAWN,
            _phantoms(_phantom("lung-nodule-slice", "Malignant", "Nodule", diameter_mm=25.0)),
        ),
    ),
    "brain-tumor-mri": (
        Source(
            "phantoms",
            "Phantoms: brain MR",
            DRAWN,
            _phantoms(
                _phantom("brain-mr-slice", "Glioma", "", lesion="ring-enhancing"),
                _phantom("brain-mr-slice", "Meningioma", "", lesion="meningioma-like"),
                _phantom("brain-mr-slice", "Pituitary tumor", "", lesion="pituitary-like"),
            ),
        ),
    ),
}  # fmt: skip
