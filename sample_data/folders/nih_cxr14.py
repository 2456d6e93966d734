"""NIH ChestX-ray14: test films at 512 px with labels, and boxes where a radiologist drew them."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from models.types import Case, Image, Modality, Region
from sample_data.entry import SampleEntry, balanced, kebab, read_sample
from sample_data.folders._base import FOLDER_SETS, PER_SYSTEM, FolderSet, names_in, rows_of

FINDINGS = (
    "Atelectasis", "Cardiomegaly", "Effusion", "Infiltration", "Mass", "Nodule", "Pneumonia", "Pneumothorax",
    "Consolidation", "Edema", "Emphysema", "Fibrosis", "Pleural_Thickening", "Hernia",
)  # fmt: skip
_BOX_FRAME = 1024  # px; the frame of the published boxes


def _entries(root: Path, dataset: FolderSet) -> tuple[SampleEntry, ...]:
    rows = rows_of(root / "labels_512.csv", ("image", "split_chexnet", "age", "sex", "view", *FINDINGS))
    boxes: dict[str, list[dict[str, str]]] = {}
    for box in rows_of(root / "bbox.csv", ("image", "finding", "x_1024", "y_1024", "w_1024", "h_1024")):
        boxes.setdefault(box["image"], []).append(box)
    present = names_in(root / "images_512", ".jpg")
    test = [row for row in rows if row["split_chexnet"] == "test" and row["image"] in present]

    def rank(row: dict[str, str]) -> tuple[bool, int, str]:
        """Films whose box agrees with a label first, then those with the fewest findings, which teach the most."""
        boxed = {_title(box["finding"]) for box in boxes.get(row["image"], ())}
        return not boxed & {_title(name) for name in _findings(row)}, len(_findings(row)), row["image"]

    test.sort(key=rank)
    chosen = balanced(test, lambda row: _findings(row) or ("none",), PER_SYSTEM)
    return tuple(
        dataset.entry(
            kebab(Path(row["image"]).stem),
            partial(_load, root / "images_512" / row["image"], boxes.get(row["image"], [])),
            labels={_title(name): row[name] == "1" for name in FINDINGS},
            attributes={"age": row["age"], "sex": row["sex"], "view": row["view"]},
        )
        for row in chosen
    )


def _findings(row: dict[str, str]) -> tuple[str, ...]:
    return tuple(name for name in FINDINGS if row[name] == "1")


def _title(finding: str) -> str:
    """The label's name; the box list says Infiltrate for Infiltration."""
    return {"Infiltrate": "Infiltration"}.get(finding, finding).replace("_", " ")


def _load(path: Path, boxes: list[dict[str, str]], entry: SampleEntry) -> Case:
    def regions(image: Image) -> list[Region]:
        height, width = image.plane_shape
        return [_region(box, width / _BOX_FRAME, height / _BOX_FRAME) for box in boxes]

    return read_sample(entry, path, regions, grey=True)


def _region(box: dict[str, str], across: float, down: float) -> Region:
    x, y, w, h = (float(box[name]) for name in ("x_1024", "y_1024", "w_1024", "h_1024"))
    return Region(_title(box["finding"]), box=(x * across, y * down, (x + w) * across, (y + h) * down))


FOLDER_SETS.register(
    "nih",
    FolderSet(
        "nih",
        "NIH ChestX-ray14",
        "chest-xray-14",
        "nih_cxr14",
        Modality.XRAY,
        "Free use with credit to the NIH Clinical Center",
        "Wang et al., ChestX-ray8, CVPR 2017, doi:10.1109/CVPR.2017.369",
        _entries,
    ),
)
