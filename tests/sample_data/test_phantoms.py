"""Planted truth against measurements that do not use the generators' own numbers."""

from __future__ import annotations

import re
from dataclasses import fields

import numpy as np
import pytest
from scipy import ndimage

from models.errors import DataError
from models.types import Case, Modality
from sample_data.phantoms import generators, make

SLICES = {
    "chest-film": Modality.XRAY,
    "lung-nodule-slice": Modality.CT,
    "pneumonia-slice": Modality.CT,
    "brain-mr-slice": Modality.MR,
    "skin-lesion": Modality.DERMOSCOPY,
}


def mask_of(case: Case, name: str) -> np.ndarray:
    return next(region.mask for region in case.regions if region.name == name)


def voxel_mm3(case: Case) -> float:
    return float(abs(np.linalg.det(case.image.geometry.affine[:3, :3])))


def centre_mm(case: Case, mask: np.ndarray) -> np.ndarray:
    """Centroid in mm, by the affine written out."""
    index = np.argwhere(mask).mean(axis=0)
    column, row, level = index[-1], index[-2], index[0] if mask.ndim == 3 else 0.0
    return case.image.geometry.affine[:3] @ np.array([column, row, level, 1.0])


def surroundings(mask: np.ndarray, inside: np.ndarray, near: int, far: int) -> np.ndarray:
    """A shell between two distances (in voxels) outside a mask, within another."""
    return ndimage.binary_dilation(mask, iterations=far) & ~ndimage.binary_dilation(mask, iterations=near) & inside


@pytest.mark.parametrize("name", SLICES)
def test_same_seed_same_bytes(name: str) -> None:
    first, again, other = make(name, 5), make(name, 5), make(name, 6)
    assert first.image.values.tobytes() == again.image.values.tobytes()
    assert first.provenance.sha256 == again.provenance.sha256
    assert first.image.values.tobytes() != other.image.values.tobytes()
    for one, two in zip(first.regions, again.regions, strict=True):
        np.testing.assert_array_equal(one.mask, two.mask)


@pytest.mark.parametrize("name", SLICES)
def test_says_what_it_is(name: str) -> None:
    case = make(name, 1)
    assert case.title.startswith("Phantom: ")
    assert case.image.modality is SLICES[name]
    assert case.provenance.licence
    assert "A drawing, not a patient." in case.provenance.notes
    assert case.image.geometry is not None
    for region in case.regions:
        assert region.mask is not None
        assert region.mask.shape == case.image.values.shape[1:]
        assert region.mask.any()


@pytest.mark.parametrize("diameter", [6.0, 14.0, 30.0])
def test_nodule_slice_area_is_that_of_the_disc(diameter: float) -> None:
    case = make("lung-nodule-slice", 3, diameter_mm=diameter, lobulation=0.15)
    area = mask_of(case, "Nodule").sum() * 0.7**2
    # Pixels are 0.49 mm2; the edge adds about half a pixel's worth of chance along its length.
    assert area == pytest.approx(np.pi * diameter**2 / 4, rel=0.03 if diameter > 10 else 0.08)


def test_nodule_volume_is_that_of_the_ball_at_the_place_told() -> None:
    case = make("lung-nodule-volume", 2, diameter_mm=20.0, density_hu=30.0, noise_hu=10.0)
    mask = mask_of(case, "Nodule")
    assert mask.sum() * voxel_mm3(case) == pytest.approx(np.pi / 6 * 20.0**3, rel=0.04)
    told = [float(number) for number in re.findall(r"-?\d+\.\d", case.attributes["nodule centre"])]
    np.testing.assert_allclose(centre_mm(case, mask), told, atol=1.5)
    # Right lung of the patient: negative x in LPS, and inside that lung's mask.
    assert told[0] < 0
    assert mask_of(case, "Right lung")[mask].all()
    values = case.image.values[0]
    assert np.median(values[ndimage.binary_erosion(mask)]) == pytest.approx(30.0, abs=8.0)
    shell = surroundings(mask, mask_of(case, "Right lung"), near=2, far=4)
    assert np.median(values[shell]) < -750.0


@pytest.mark.parametrize(("density", "expected"), [(200.0, 200.0), (-300.0, -300.0)])
def test_nodule_density_is_the_one_asked_for(density: float, expected: float) -> None:
    case = make("lung-nodule-slice", 1, diameter_mm=20.0, density_hu=density, noise_hu=0.0)
    core = ndimage.binary_erosion(mask_of(case, "Nodule"), iterations=3)
    assert case.image.values[0][core].mean() == pytest.approx(expected, abs=1.0)


def test_part_solid_nodule_has_a_rim_of_ground_glass() -> None:
    case = make("lung-nodule-slice", 1, diameter_mm=30.0, texture="part-solid", noise_hu=0.0, lobulation=0.0)
    mask = mask_of(case, "Nodule")
    depth = ndimage.distance_transform_edt(mask) * 0.7
    values = case.image.values[0]
    assert values[depth > 10].mean() == pytest.approx(30.0, abs=2.0)
    assert values[(depth > 2) & (depth < 4)].mean() == pytest.approx(-600.0, abs=15.0)


def test_spicules_lie_outside_the_mask() -> None:
    plain = make("lung-nodule-slice", 4, diameter_mm=20.0, noise_hu=0.0)
    spiky = make("lung-nodule-slice", 4, diameter_mm=20.0, noise_hu=0.0, spicules=30)
    assert mask_of(plain, "Nodule").sum() == pytest.approx(mask_of(spiky, "Nodule").sum(), rel=0.03)
    shell = surroundings(mask_of(spiky, "Nodule"), mask_of(spiky, "Right lung"), near=2, far=6)
    dense = spiky.image.values[0][shell] > -500
    shell_of_plain = surroundings(mask_of(plain, "Nodule"), mask_of(plain, "Right lung"), near=2, far=6)
    assert dense.mean() > (plain.image.values[0][shell_of_plain] > -500).mean() + 0.02


def test_pneumonia_volumes_counts_and_densities() -> None:
    case = make("pneumonia-volume", 3, right_ml=150.0, left_ml=60.0, lesions_per_lung=3, solid_share=0.3, noise_hu=0.0)
    infected = mask_of(case, "Infection")
    ml = voxel_mm3(case) / 1000
    right, left = mask_of(case, "Right lung"), mask_of(case, "Left lung")
    assert (infected & right).sum() * ml == pytest.approx(150.0, abs=4 * ml)
    assert (infected & left).sum() * ml == pytest.approx(60.0, abs=4 * ml)
    assert not (infected & ~(right | left)).any()
    assert ndimage.label(infected)[1] == 6
    solid, glass = mask_of(case, "Consolidation"), mask_of(case, "Ground glass")
    assert not (solid & glass).any()
    np.testing.assert_array_equal(solid | glass, infected)
    assert solid.sum() / infected.sum() == pytest.approx(0.3, abs=0.002)
    values = case.image.values[0]
    healthy = (right | left) & ~ndimage.binary_dilation(infected, iterations=3)
    assert np.median(values[healthy]) < -800 < -700 < np.median(values[glass]) < -350 < np.median(values[solid])


def test_pneumonia_of_one_lung_alone() -> None:
    case = make("pneumonia-slice", 2, right_cm2=0.0, left_cm2=12.0)
    assert not (mask_of(case, "Infection") & mask_of(case, "Right lung")).any()
    assert mask_of(case, "Infection").sum() * 0.07**2 == pytest.approx(12.0, abs=0.03)
    healthy = make("pneumonia-slice", 2, right_cm2=0.0, left_cm2=0.0)
    assert healthy.labels == {"Infection": False}


@pytest.mark.parametrize("diameter", [10.0, 22.0, 45.0])
def test_film_nodule_area_and_contrast(diameter: float) -> None:
    case = make("chest-film", 8, finding="nodule", diameter_mm=diameter, noise_percent=0.0)
    name = "Mass" if diameter >= 30 else "Nodule"
    mask = mask_of(case, name)
    spacing = 360 / 640
    assert mask.sum() * spacing**2 == pytest.approx(np.pi * diameter**2 / 4, rel=0.06)
    assert case.labels[name]
    bare = make("chest-film", 8, finding="none", noise_percent=0.0)
    # The bare film differs by the nodule and by what follows it in the random sequence, which is noise of size 0.
    gain = case.image.values[0] - bare.image.values[0]
    assert gain[mask].mean() > 40
    assert abs(np.median(gain[~ndimage.binary_dilation(mask, iterations=60)])) < 25


@pytest.mark.parametrize("ratio", [0.42, 0.5, 0.58, 0.65])
def test_cardiothoracic_ratio_as_a_reader_measures_it(ratio: float) -> None:
    finding = "cardiomegaly" if ratio > 0.5 else "none"
    case = make("chest-film", 2, finding=finding, cardiothoracic_ratio=ratio)
    heart = mask_of(case, "Cardiomegaly" if ratio > 0.5 else "Heart")
    lungs = mask_of(case, "Right lung") | mask_of(case, "Left lung")
    widths = [np.ptp(np.flatnonzero(mask.any(axis=0))) + 1 for mask in (heart, lungs)]
    assert widths[0] / widths[1] == pytest.approx(ratio, abs=0.006)
    assert case.labels["Cardiomegaly"] is (ratio > 0.5)


def test_effusion_is_dense_at_the_side_and_as_high_as_asked() -> None:
    for side in ("left", "right"):
        case = make("chest-film", 2, finding="effusion", side=side, effusion_mm=70.0, noise_percent=0.0)
        mask = mask_of(case, "Effusion")
        rows, columns = np.nonzero(mask)
        assert (np.ptp(rows) + 1) * 360 / 640 == pytest.approx(70.0, abs=6.0)
        # The patient's left is on the right of the film.
        assert bool(columns.mean() > 320) is (side == "left")
        other = make("chest-film", 2, finding="none", noise_percent=0.0)
        assert (case.image.values - other.image.values)[0][mask].mean() > 300


def test_consolidation_is_in_one_piece_in_its_lung() -> None:
    case = make("chest-film", 4, finding="consolidation", side="left", consolidation_mm=70.0)
    mask = mask_of(case, "Consolidation")
    assert ndimage.label(mask)[1] == 1
    assert mask_of(case, "Left lung")[mask].all()
    assert 0.75 < mask.sum() * (360 / 640) ** 2 / (np.pi * 70.0**2 / 4) <= 1.0


@pytest.mark.parametrize("lesion", ["ring-enhancing", "meningioma-like", "pituitary-like"])
def test_brain_lesion_area_place_and_look(lesion: str) -> None:
    case = make("brain-mr-slice", 4, lesion=lesion, diameter_mm=26.0, side="left", bias=0.0, noise_percent=0.0)
    mask = mask_of(case, f"{lesion.capitalize()} lesion")
    assert mask.sum() * 0.7**2 == pytest.approx(np.pi * 26.0**2 / 4, rel=0.005)
    assert ndimage.label(mask)[1] == 1
    x = centre_mm(case, mask)[0]
    assert abs(x) < 2 if lesion == "pituitary-like" else x > 15
    values = case.image.values[0]
    depth = ndimage.distance_transform_edt(mask) * 0.7
    white = 620.0
    if lesion == "ring-enhancing":
        assert np.median(values[(depth > 1.5) & (depth < 3)]) > 1.2 * white
        assert np.median(values[depth > 0.75 * depth.max()]) < 0.7 * white
    else:
        assert np.median(values[depth > 2]) > 1.15 * white


def test_brain_volume_size_and_bias_field() -> None:
    even = make("brain-mr-volume", 4, diameter_mm=30.0, bias=0.0, noise_percent=0.0)
    mask = mask_of(even, "Ring-enhancing lesion")
    assert mask.sum() * voxel_mm3(even) == pytest.approx(np.pi / 6 * 30.0**3, rel=0.005)
    shaded = make("brain-mr-slice", 4, bias=0.5, noise_percent=0.0)
    flat = make("brain-mr-slice", 4, bias=0.0, noise_percent=0.0)
    brain = mask_of(flat, "Brain")
    ratio = shaded.image.values[0][brain] / np.maximum(flat.image.values[0][brain], 1)
    assert np.percentile(ratio, 95) / np.percentile(ratio, 5) > 1.3
    assert 0.7 < ratio.mean() < 1.3


def test_brain_without_lesion_has_none() -> None:
    case = make("brain-mr-slice", 6, lesion="none")
    assert [region.name for region in case.regions] == ["Brain"]
    assert not any(case.labels.values())


def test_skin_lesion_area_and_contrast() -> None:
    for diameter in (3.0, 6.0, 9.0):
        case = make("skin-lesion", 2, diameter_mm=diameter, border=0.5, asymmetry=0.2)
        mask = mask_of(case, "Lesion")
        assert mask.sum() * 0.03**2 == pytest.approx(np.pi * diameter**2 / 4, rel=0.02)
        grey = case.image.values.mean(axis=0)
        assert grey[mask].mean() < grey[~mask].mean() - 0.12
        assert 0 <= grey.min() <= grey.max() <= 1


def test_skin_parameters_change_what_they_name() -> None:
    def roughness(border: float) -> float:
        mask = mask_of(make("skin-lesion", 3, border=border, asymmetry=0.0), "Lesion")
        edge = (mask & ~ndimage.binary_erosion(mask)).sum()
        return float(edge / np.sqrt(mask.sum()))

    assert roughness(1.0) > 1.1 * roughness(0.0)

    def overlap_when_turned(asymmetry: float) -> float:
        mask = mask_of(make("skin-lesion", 3, border=0.0, asymmetry=asymmetry), "Lesion")
        turned = mask[::-1, ::-1]
        shift = 2 * np.array(ndimage.center_of_mass(mask)) - (np.array(mask.shape) - 1)
        turned = ndimage.shift(turned.astype(float), shift, order=1) > 0.5
        return float((mask & turned).sum() / mask.sum())

    assert overlap_when_turned(0.0) > 0.99
    assert overlap_when_turned(0.5) < 0.95

    def hue_spread(colours: int) -> float:
        case = make("skin-lesion", 3, colours=colours, network=0.0, globules=0)
        inside = case.image.values[:, ndimage.binary_erosion(mask_of(case, "Lesion"), iterations=20)]
        return float((inside[0] - inside[2]).std())

    assert hue_spread(6) > 2 * hue_spread(1)
    bare, hairy = make("skin-lesion", 3), make("skin-lesion", 3, hairs=40)
    assert (hairy.image.values < 0.25).mean() > (bare.image.values < 0.25).mean() + 0.01


@pytest.mark.parametrize(
    ("name", "params", "words"),
    [
        ("no-such", {}, "no phantom"),
        ("chest-film", {"size": 512}, "no parameter 'size'"),
        ("chest-film", {"diameter_mm": 500.0}, "between 6 and 70 mm"),
        ("chest-film", {"diameter_mm": float("nan")}, "must be a number"),
        ("chest-film", {"diameter_mm": "big"}, "must be a number"),
        ("chest-film", {"size_px": 600.5}, "whole number"),
        ("chest-film", {"finding": "hernia"}, "must be one of"),
        ("chest-film", {"cardiothoracic_ratio": 0.6}, "goes with the finding 'cardiomegaly'"),
        ("skin-lesion", {"ruler": 1}, "true or false"),
        ("lung-nodule-slice", {"diameter_mm": True}, "must be a number"),
        ("pneumonia-slice", {"right_cm2": 120.0, "lesions_per_lung": 8}, "ask for less"),
    ],
)
def test_wrong_parameters_get_one_sentence(name: str, params: dict, words: str) -> None:
    with pytest.raises(DataError, match=re.escape(words)):
        make(name, 0, **params)


@pytest.mark.parametrize("seed", [-1, 1.5, True])
def test_wrong_seed(seed: object) -> None:
    with pytest.raises(DataError, match="seed"):
        make("skin-lesion", seed)


def test_every_system_has_a_phantom_and_every_number_its_bounds() -> None:
    assert {generator.system for generator in generators().values()} == {
        "lung-cancer-ct",
        "chest-xray-14",
        "brain-tumor-mri",
        "skin-lesion-7",
        "pneumonia-ct",
    }
    for generator in generators().values():
        for spec in fields(generator):
            assert spec.metadata["help"], spec.name
            if "low" in spec.metadata:
                assert spec.metadata["low"] <= spec.default <= spec.metadata["high"]
