"""COVID-SemiSeg: CT slices of the test part with masks of infection, ground glass and consolidation."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from models.training.splits import natural
from models.types import Case, Image, Modality, Region
from sample_data.entry import SampleEntry, kebab, read_region, read_sample, spread
from sample_data.folders._base import FOLDER_SETS, PER_SYSTEM, FolderSet, names_in

_PARTS = {"Ground glass": "GT-1", "Consolidation": "GT-2"}


def _entries(root: Path, dataset: FolderSet) -> tuple[SampleEntry, ...]:
    test = root / "TestingSet"
    masks = names_in(test / "LungInfection-Test" / "GT", ".png")
    stems = [Path(name).stem for name in names_in(test / "LungInfection-Test" / "Imgs", ".jpg")]
    stems = sorted((stem for stem in stems if f"{stem}.png" in masks), key=natural)
    return tuple(
        dataset.entry(
            kebab(f"{int(stem):03d}" if stem.isdigit() else stem),
            partial(_load, test, stem),
            labels={"Infection": True},
        )
        for stem in spread(stems, PER_SYSTEM)
    )


def _load(test: Path, stem: str, entry: SampleEntry) -> Case:
    def regions(image: Image) -> list[Region]:
        found = [read_region("Infection", test / "LungInfection-Test" / "GT" / f"{stem}.png", image)]
        for name, folder in _PARTS.items():
            path = test / "MultiClassInfection-Test" / folder / f"{stem}.png"
            region = read_region(name, path, image) if path.exists() else None
            if region is not None and region.mask is not None and region.mask.any():
                found.append(region)
        return found

    return read_sample(entry, test / "LungInfection-Test" / "Imgs" / f"{stem}.jpg", regions, grey=True)


FOLDER_SETS.register(
    "covid-semiseg",
    FolderSet(
        "covid-semiseg",
        "COVID-SemiSeg",
        "pneumonia-ct",
        "covid_semiseg",
        Modality.CT,
        "Non-commercial use only",
        "Fan et al., Inf-Net, IEEE TMI 2020, doi:10.1109/TMI.2020.2996645; slices of medicalsegmentation.com",
        _entries,
    ),
)
