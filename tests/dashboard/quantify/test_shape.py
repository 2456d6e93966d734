"""Shape measures against closed forms and brute force."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import ellipe

from dashboard.quantify.lesions import axial_diameter
from dashboard.quantify.shape import diameters, outline_length, solidity, symmetry, whole
from models.types import Geometry

Y, X = np.mgrid[0:180, 0:200].astype(float)


def disc(radius: float, column: float = 99.7, row: float = 90.2):
    return (X - column) ** 2 + (Y - row) ** 2 <= radius**2


def ellipse(long: float, short: float, degrees: float):
    turn = np.deg2rad(degrees)
    along = (X - 100) * np.cos(turn) + (Y - 90) * np.sin(turn)
    across = -(X - 100) * np.sin(turn) + (Y - 90) * np.cos(turn)
    return (along / long) ** 2 + (across / short) ** 2 <= 1


@pytest.mark.parametrize("radius", [12, 30, 70])
def test_a_disc_has_the_outline_of_a_circle(radius: float) -> None:
    mask = disc(radius)
    assert outline_length(mask) == pytest.approx(2 * np.pi * radius, rel=0.01)
    assert outline_length(mask) ** 2 / (4 * np.pi * mask.sum()) == pytest.approx(1, abs=0.02)
    assert solidity(mask) > 0.97


@pytest.mark.parametrize("degrees", [0, 20, 45, 70])
def test_ellipses_at_any_angle(degrees: float) -> None:
    mask = ellipse(70, 28, degrees)
    around = 4 * 70 * ellipe(1 - (28 / 70) ** 2)
    assert outline_length(mask) == pytest.approx(around, rel=0.01)
    found = diameters(mask, np.eye(2))
    assert found.longest == pytest.approx(140, abs=1)
    assert found.perpendicular == pytest.approx(56, abs=1)


def test_an_outline_on_pixels_that_are_not_square() -> None:
    mask = ((X - 100) * 0.5) ** 2 + (Y - 90) ** 2 <= 40**2
    assert outline_length(mask, (0.5, 1.0)) == pytest.approx(2 * np.pi * 40, rel=0.01)


def test_a_straight_edge_at_any_angle() -> None:
    for degrees in range(0, 90, 7):
        turn = np.deg2rad(degrees)
        u = (X - 100) * np.cos(turn) + (Y - 90) * np.sin(turn)
        v = -(X - 100) * np.sin(turn) + (Y - 90) * np.cos(turn)
        assert outline_length((abs(u) <= 60) & (abs(v) <= 60)) == pytest.approx(480, rel=0.03)


def test_the_longest_distance_by_brute_force() -> None:
    rng = np.random.default_rng(3)
    mask = np.zeros((14, 17), dtype=bool)
    mask[tuple(rng.integers(2, 12, (2, 12)))] = True
    rows, columns = np.nonzero(mask)
    steps = np.array([[0.7, 0.1], [-0.2, 1.3]])  # oblique and unequal
    ends = [
        np.array([c + dx, r + dy]) @ steps.T
        for r, c in zip(rows, columns, strict=True)
        for dx, dy in ((0.5, 0), (-0.5, 0), (0, 0.5), (0, -0.5))
    ]
    longest, pair = max(((np.linalg.norm(a - b), (a, b)) for a, b in combinations(ends, 2)), key=lambda found: found[0])
    found = diameters(mask, steps)
    assert found.longest == pytest.approx(longest)
    along = (pair[1] - pair[0]) / longest
    # The hull's chords at a right angle, at many places along the longest distance.
    t, s = np.array(ends) @ along, np.array(ends) @ [-along[1], along[0]]
    widest = 0.0
    for place in np.linspace(t.min(), t.max(), 202)[1:-1]:
        cuts = [
            s[i] + (place - t[i]) / (t[j] - t[i]) * (s[j] - s[i])
            for i, j in combinations(range(len(t)), 2)
            if (t[i] - place) * (t[j] - place) < 0
        ]
        widest = max(widest, max(cuts) - min(cuts))
    assert found.perpendicular == pytest.approx(widest, rel=0.01)


def test_the_chord_at_a_right_angle_of_a_kite() -> None:
    mask = np.zeros((61, 101), dtype=bool)
    for column in range(101):
        half = round(min(column, 100 - column) * 0.4) if column <= 50 else round((100 - column) * 0.4)
        mask[30 - half : 31 + half, column] = True
    found = diameters(mask, np.diag([0.5, 0.5]))
    assert found.longest == pytest.approx(50.5, abs=0.01)
    assert found.perpendicular == pytest.approx(20.5, abs=0.01)


def test_the_longest_axial_distance_is_that_of_lesions() -> None:
    mask = ellipse(40, 12, 33)[None]
    geometry = Geometry(np.diag([0.6, 0.6, 2.0, 1.0]))
    assert diameters(mask[0], geometry.affine[:3, :2]).longest == pytest.approx(axial_diameter(mask, geometry))


def test_folding_a_disc_and_an_ellipse_leaves_nothing() -> None:
    assert max(symmetry(disc(45)).unmatched) < 0.01
    found = symmetry(ellipse(60, 25, 30))
    assert max(found.unmatched) < 0.01
    assert found.degrees == 30


def test_folding_half_a_disc() -> None:
    radius = 60.0
    mask = disc(radius, 100, 50) & (Y >= 50)
    found = symmetry(mask)
    # One axis matches; about the other, through the centre of area, the overlap of the half disc and its mirror image.
    centre = 4 * radius / (3 * np.pi)
    overlap = 2 * quad(lambda y: 2 * np.sqrt(radius**2 - y**2), centre, 2 * centre)[0]
    assert min(found.unmatched) < 0.01
    assert max(found.unmatched) == pytest.approx(1 - overlap / (np.pi * radius**2 / 2), abs=0.01)


def test_solidity_of_a_notched_disc() -> None:
    mask = disc(60, 100, 90)
    notched = mask & ~((X > 100) & (abs(Y - 90) <= (X - 100) * np.tan(np.pi / 12)))  # a twelfth of the disc
    chord_area = 60**2 / 2 * (np.pi / 6 - np.sin(np.pi / 6))  # which the hull does not take back
    assert solidity(notched) == pytest.approx((11 / 12) * np.pi * 60**2 / (np.pi * 60**2 - chord_area), abs=0.015)


def test_the_largest_part_without_its_holes() -> None:
    mask = disc(20, 50, 50) & ~disc(6, 50, 50) | disc(5, 120, 50)
    found, left_out = whole(mask)
    assert left_out == 1
    np.testing.assert_array_equal(found, disc(20, 50, 50))
    assert whole(np.zeros((4, 4), bool))[1] == 0
