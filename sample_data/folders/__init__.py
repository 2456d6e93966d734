"""Labelled cases of a data folder on this machine; one module a data set, each of which registers itself.

Only test parts are offered, so that no shown case was trained on. A set whose folder is absent lists nothing.
"""

from __future__ import annotations

import sys
from pathlib import Path

from models.registry import discover
from sample_data.folders._base import FOLDER_SETS, FolderSet

discover(sys.modules[__name__])

__all__ = ["FOLDER_SETS", "FolderSet", "image_folder"]

# Where a set keeps pictures besides other things of the same names: masks, or the same pictures in another size.
_IMAGES = {"nih": "images_128", "ham10000": "images", "lidc": "image"}


def image_folder(model_id: str) -> Path | None:
    """The images, in the data folder, of the set that a model was made for; None where they are absent.

    Raises:
        DataError: ``SIGHTLINE_DATA`` names something that is not a folder.
    """
    from sample_data.samples import data_folder  # that module lists the sets of this one

    data = data_folder()
    if data is None:
        return None
    for dataset in FOLDER_SETS:
        folder = data / dataset.folder / _IMAGES.get(dataset.id, "")
        if (dataset.model or dataset.system) == model_id and folder.is_dir():
            return folder
    return None
