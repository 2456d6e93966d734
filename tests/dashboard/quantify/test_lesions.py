"""Lesions against drawn ones, and against slow, independent computations on real masks."""

from __future__ import annotations

from collections import deque
from itertools import product
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from dashboard.quantify.lesions import axial_diameter, find_lesions, take_in
from dashboard.quantify.lungs import LEFT, RIGHT, from_sides
from models.errors import DataError
from models.types import Geometry
from sample_data.samples import data_folder
from tests.dashboard.quantify.thorax import LPS_TO_RAS, Ball, draw

NEIGHBOURS = [step for step in product((-1, 0, 1), repeat=3) if any(step)]
REACH = {6: 1, 18: 2, 26: 3}


WHOLE = 5  # masks taken with the empty scan around them; the others are cut to what they mark


def mosmed() -> list[Path]:
    folder = data_folder()
    files = sorted((folder / "mosmed_masks" / "masks").glob("*.nii.gz")) if folder else []
    if not files:
        pytest.skip("the data folder has no mosmed_masks; set SIGHTLINE_DATA")
    return files


def load(path: Path) -> tuple[np.ndarray, Geometry]:
    image = nib.load(path)
    return np.asanyarray(image.dataobj).T > 0, Geometry(LPS_TO_RAS @ image.affine)


def box_ml(geometry: Geometry) -> float:
    """Volume of a voxel as a triple product."""
    a, b, c = geometry.affine[:3, :3].T
    return abs(float(np.dot(a, np.cross(b, c)))) / 1000


def flooded(mask: np.ndarray, connectivity: int) -> list[list[tuple[int, int, int]]]:
    """Connected parts by flooding from voxel to voxel."""
    steps = [step for step in NEIGHBOURS if sum(map(abs, step)) <= REACH[connectivity]]
    left = set(map(tuple, np.argwhere(mask).tolist()))
    parts = []
    while left:
        start = left.pop()
        part, queue = [start], deque([start])
        while queue:
            voxel = queue.popleft()
            for step in steps:
                near = tuple(a + b for a, b in zip(voxel, step, strict=True))
                if near in left:
                    left.remove(near)
                    part.append(near)
                    queue.append(near)
        parts.append(part)
    return parts


def by_graph(mask: np.ndarray) -> np.ndarray:
    """Sizes of the 26-connected parts, from the graph of neighbouring voxels."""
    voxels = np.argwhere(mask)
    voxels += 1 - voxels.min(axis=0)
    number = np.full(voxels.max(axis=0) + 2, -1)
    number[tuple(voxels.T)] = np.arange(len(voxels))
    pairs = []
    for step in NEIGHBOURS[:13]:  # the others are their opposites
        near = number[tuple((voxels + step).T)]
        pairs.append((np.flatnonzero(near >= 0), near[near >= 0]))
    one, other = (np.concatenate(part) for part in zip(*pairs, strict=True))
    _, part = connected_components(
        coo_matrix((np.ones(len(one)), (one, other)), (len(voxels), len(voxels))), directed=False
    )
    return np.sort(np.bincount(part))[::-1]


def test_all_mosmed_masks_by_graph() -> None:
    for number, path in enumerate(mosmed()):
        mask, geometry = load(path)
        if number >= WHOLE and mask.any():  # the rest of the scan is empty
            mask = mask[ndimage.find_objects(mask.astype(np.uint8))[0]]
        found = find_lesions(mask, geometry)
        sizes = by_graph(mask)
        assert [lesion.voxels for lesion in found.items] == sizes.tolist(), path.name
        assert found.total_ml == pytest.approx(mask.sum() * box_ml(geometry), rel=1e-6)
        np.testing.assert_array_equal(found.mask, mask)


@pytest.mark.parametrize("connectivity", [6, 18, 26])
def test_a_mosmed_mask_by_flooding(connectivity: int) -> None:
    path = min(mosmed(), key=lambda file: file.stat().st_size)
    mask, geometry = load(path)
    found = find_lesions(mask, geometry, connectivity=connectivity)
    parts = sorted(flooded(mask, connectivity), key=len, reverse=True)
    assert [lesion.voxels for lesion in found.items] == [len(part) for part in parts]
    middle = geometry.to_world((np.array([mask.shape[::-1]], dtype=float) - 1) / 2)[0, 0]
    known = {tuple(np.round(geometry.to_world(np.array(part, float)[:, ::-1]).mean(axis=0), 6)) for part in parts}
    for lesion in found.items:
        assert tuple(np.round(lesion.centroid_mm, 6)) in known
        assert lesion.side == ("left" if lesion.centroid_mm[0] > middle else "right")
    assert found.side_by == "half of the picture"


@pytest.mark.parametrize(
    ("spacing", "angles"), [((2, 2, 2), (0, 0, 0)), ((1.3, 1.3, 8), (0, 0, 0)), ((2, 2.5, 4), (10, -7, 15))]
)
def test_drawn_lesions(spacing: tuple[float, ...], angles: tuple[float, ...]) -> None:
    balls = (Ball(-80, 20, 0, 15, 30), Ball(70, -30, 30, 10, -500), Ball(80, 40, -40, 20, -300))
    chest = draw(spacing, balls, angles, noise_hu=0)
    lungs = from_sides((RIGHT * chest.right + LEFT * chest.left).astype(np.uint8), chest.geometry, "drawn")
    found = find_lesions(chest.infected, chest.geometry, chest.image.values[0], lungs)
    assert len(found.items) == 3
    for lesion, ball, drawn in zip(found.items, (balls[2], balls[0], balls[1]), (2, 0, 1), strict=True):
        assert lesion.volume_ml == pytest.approx(chest.lesions[drawn].sum() * box_ml(chest.geometry))
        assert lesion.volume_ml == pytest.approx(4 / 3 * np.pi * ball.radius**3 / 1000, rel=0.06)
        assert lesion.mean_hu == pytest.approx(ball.hu)
        np.testing.assert_allclose(lesion.centroid_mm, (ball.x, ball.y, ball.z), atol=0.2 * max(spacing))
        assert lesion.side == ("left" if ball.x > 0 else "right")
        assert lesion.diameter_mm == pytest.approx(2 * ball.radius, abs=1.5 * max(spacing[:2]))


def test_diameter_by_brute_force() -> None:
    mask = np.random.default_rng(1).random((3, 12, 9)) < 0.15
    affine = np.diag([0.7, 1.9, 4.0, 1.0])
    affine[0, 1] = 0.4
    longest = 0.0
    for plane in mask:
        ends = [
            (c + dc, r + dr) for r, c in np.argwhere(plane) for dc, dr in ((0.5, 0), (-0.5, 0), (0, 0.5), (0, -0.5))
        ]
        for one, other in product(ends, repeat=2):
            step = np.subtract(one, other) @ affine[:3, :2].T
            longest = max(longest, float(np.linalg.norm(step)))
    assert axial_diameter(mask, Geometry(affine)) == pytest.approx(longest)
    coronal = Geometry(affine[[0, 2, 1, 3]] * np.array([[1], [-1], [1], [1]]))  # rows run to the head there
    assert axial_diameter(mask, coronal) != pytest.approx(longest)


def test_connectivity_and_minimum_size() -> None:
    mask = np.zeros((4, 6, 6), bool)
    mask[0, 0, 0] = mask[0, 1, 1] = mask[1, 2, 2] = True  # an edge, then a corner
    geometry = Geometry(np.diag([2.0, 2.0, 5.0, 1.0]))  # 20 mm3
    counts = {way: [one.voxels for one in find_lesions(mask, geometry, connectivity=way).items] for way in (6, 18, 26)}
    assert counts == {6: [1, 1, 1], 18: [2, 1], 26: [3]}
    kept = find_lesions(mask, geometry, connectivity=18, minimum_mm3=40.0)
    assert ([one.voxels for one in kept.items], kept.left_out, kept.left_out_ml) == ([2], 1, pytest.approx(0.02))
    assert kept.mask.sum() == 2
    assert find_lesions(np.zeros_like(mask), geometry).items == ()
    for wrong in ({"connectivity": 8}, {"minimum_mm3": -1.0}):
        with pytest.raises(DataError, match="6, 18 or 26"):
            find_lesions(mask, geometry, **wrong)


def test_without_orientation_there_is_no_side() -> None:
    mask = np.zeros((3, 4, 4), bool)
    mask[1, 1, 0] = True
    (lesion,) = find_lesions(mask, Geometry(np.diag([2.0, 2.0, 5.0, 1.0]), "plane")).items
    assert lesion.side == "unknown"


def test_lesions_that_meet_a_lung_belong_to_it() -> None:
    side = np.zeros((3, 8, 20), np.uint8)
    side[:, :, 2:8], side[:, :, 12:18] = RIGHT, LEFT
    geometry = Geometry(np.diag([10.0, 10.0, 10.0, 1.0]))  # 1 ml
    mask = np.zeros(side.shape, bool)
    mask[1, 3, 6:10] = True  # from the right lung two voxels out
    mask[1, 7, 19] = True  # beside the left lung
    lungs = from_sides(side, geometry, "drawn")
    lesions = find_lesions(mask, geometry, lungs=lungs)
    assert [lesion.side for lesion in lesions.items] == ["right", "left"]
    grown = take_in(lungs, lesions, geometry)
    assert (grown.right_ml, grown.left_ml) == (lungs.right_ml + 2, lungs.left_ml)
    assert "2.0 ml" in grown.warnings[-1]
