"""A bright block planted at known millimetres in a file lies at the same millimetres in its map.

The whole path: file, reader, preprocessing, an explanation by a network whose answer is known (a sum of pixels, so that
occlusion must point at the block), projection to the image grid, world coordinates.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
import pytest
import torch
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid
from torch import nn

from explainers import get
from explainers.passes import Passes
from explainers.reduce import reduce_channels
from models.card import ModelCard
from models.context import RunContext
from models.handle import ModelHandle
from models.io import read_case
from models.preprocess import Fit
from models.project import input_to_image
from models.types import Image, Modality
from tests.conftest import card_fields

GRID = 64
BLOCK = 5  # half width in pixels


class Brightness(nn.Module):
    """Three logits, the first the sum of all pixels."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        total = inputs.sum(dim=(1, 2, 3))
        return torch.stack([total, -total, 0 * total], dim=1)


def found_world(image: Image, fit: Fit) -> np.ndarray:
    """World position (mm) of the centroid of the strongest part of the occlusion map."""
    fields = card_fields(target_layers=[], weights={"file": "w.pt", "sha256": "0" * 64})
    fields["input"] = {"height": GRID, "width": GRID, "channels": 1, "fit": fit, "modality": ["ct", "mr", "x-ray"]}
    card = ModelCard(**fields)
    handle = ModelHandle(card, Brightness())
    prepared = handle.prepare(image)
    explainer = get("occlusion")
    params = explainer.spec.resolve({"window": 4, "stride": 2})
    with handle.exclusive(RunContext()) as module:
        (attribution,) = explainer.explain(Passes(module, RunContext()), prepared, [card.target("Alpha")], params, 0)
    laid = input_to_image(reduce_channels(attribution.values), prepared.grid_to_image, prepared.image_shape)
    strong = np.where(laid > 0.6 * laid.max(), laid, 0)
    rows, columns = np.mgrid[: laid.shape[0], : laid.shape[1]]
    point = [(columns * strong).sum() / strong.sum(), (rows * strong).sum() / strong.sum(), 0.0]
    assert image.geometry is not None
    return image.geometry.to_world(np.array([point]))[0]


def planted(shape: tuple[int, int], column: int, row: int) -> np.ndarray:
    pixels = np.full(shape, 100, np.int16)
    pixels[row - BLOCK : row + BLOCK + 1, column - BLOCK : column + BLOCK + 1] = 900
    return pixels


def rotation(degrees: tuple[float, float, float]) -> np.ndarray:
    total = np.eye(3)
    for axis, angle in enumerate(np.radians(degrees)):
        turn = np.eye(3)
        one, two = [k for k in range(3) if k != axis]
        turn[one, one] = turn[two, two] = np.cos(angle)
        turn[one, two], turn[two, one] = -np.sin(angle), np.sin(angle)
        total = turn @ total
    return total


FITS: tuple[Fit, ...] = ("letterbox", "center-crop", "stretch")


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("axes", [(0, 1, 2), (1, 0, 2)])
def test_oblique_nifti(tmp_path: Path, fit: Fit, axes: tuple[int, int, int]) -> None:
    spacing = np.array([0.8, 0.8, 3.0])
    affine = np.eye(4)
    affine[:3, :3] = (rotation((12, -9, 20)) * spacing)[:, axes]
    affine[:3, 3] = (-40, 25, 60)
    voxels = np.full((120, 90, 4), 100, np.int16)
    voxels[60 - BLOCK : 60 + BLOCK + 1, 40 - BLOCK : 40 + BLOCK + 1, 2] = 900
    nib.save(nib.Nifti1Image(voxels, affine), tmp_path / "oblique.nii.gz")
    expected = np.diag([-1, -1, 1]) @ (affine @ [60, 40, 2, 1])[:3]  # NIfTI is RAS, Sightline LPS
    image = read_case(tmp_path / "oblique.nii.gz", modality=Modality.MR).image
    brightest = int(image.values.max(axis=(0, 2, 3)).argmax())
    np.testing.assert_allclose(found_world(image.slice(brightest), fit), expected, atol=0.8)


def write_dicom(path: Path, pixels: np.ndarray, **changes: Any) -> Path:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = CTImageStorage, generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    ds.SOPClassUID, ds.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    ds.Modality, ds.Rows, ds.Columns = "CT", *pixels.shape
    ds.SamplesPerPixel, ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 1, 16, 16, 15, 1
    ds.PhotometricInterpretation = "MONOCHROME2"
    ds.WindowCenter, ds.WindowWidth = 500, 1000
    for name, value in changes.items():
        setattr(ds, name, value)
    ds.PixelData = pixels.astype(np.int16).tobytes()
    pydicom.dcmwrite(path, ds, enforce_file_format=True)
    return path


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("row_mm", [0.7, 1.6], ids=["square", "non-square"])
def test_monochrome1_dicom(tmp_path: Path, fit: Fit, row_mm: float) -> None:
    """Dark in the file is bright on screen: the block is stored low."""
    along_row, along_column = (rotation((5, 10, -15))[:, :2]).T
    path = write_dicom(
        tmp_path / "film.dcm",
        1000 - planted((100, 130), 60, 52),
        Modality="MR",
        PhotometricInterpretation="MONOCHROME1",
        PixelSpacing=[row_mm, 0.7],
        ImageOrientationPatient=[*along_row.tolist(), *along_column.tolist()],
        ImagePositionPatient=[10.0, -20.0, 30.0],
    )
    expected = np.array([10, -20, 30]) + along_row * 0.7 * 60 + along_column * row_mm * 52
    image = read_case(path).image
    assert image.inverted
    np.testing.assert_allclose(found_world(image, fit), expected, atol=0.8)


@pytest.mark.parametrize("fit", FITS)
def test_film_with_only_a_pixel_spacing(tmp_path: Path, fit: Fit) -> None:
    path = write_dicom(tmp_path / "film.dcm", planted((90, 140), 75, 40), Modality="DX", PixelSpacing=[0.5, 0.9])
    image = read_case(path).image
    np.testing.assert_allclose(found_world(image, fit)[:2], [75 * 0.9, 40 * 0.5], atol=0.8)
