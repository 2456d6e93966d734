"""Small drawn volumes that the tests of the preparation share."""

from __future__ import annotations

import numpy as np

from models.types import Geometry, Image, Modality


def mr(values: np.ndarray, affine: np.ndarray | None = None) -> Image:
    """(D, H, W) as an MR volume, 2 mm cubes if nothing else is said."""
    geometry = Geometry(np.diag([2.0, 2.0, 2.0, 1.0]) if affine is None else affine)
    return Image(values.astype(np.float32)[None], "stored value", Modality.MR, geometry)


def turned(spacing: tuple[float, float, float], degrees: float, origin: tuple[float, float, float]) -> np.ndarray:
    """An affine whose axes are turned about the body's long axis."""
    angle = np.radians(degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = turn * np.array(spacing)
    affine[:3, 3] = origin
    return affine


def tissues(shape: tuple[int, int, int] = (28, 40, 40), seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A ball of two tissues (300 and 500) in checks, air around it; and where the ball is."""
    index = np.indices(shape).astype(float)
    middle = (np.array(shape) - 1) / 2
    reach = np.sqrt((((index.reshape(3, -1) - middle[:, None]) / (middle[:, None] + 1)) ** 2).sum(axis=0)).reshape(
        shape
    )
    ball = reach < 0.85
    checks = (index // 5).sum(axis=0) % 2 == 0
    noise = np.random.default_rng(seed).normal(0, 6, shape)
    return np.where(ball, np.where(checks, 500.0, 300.0) + noise, np.abs(noise)), ball


def block(
    shape: tuple[int, int, int], affine: np.ndarray, centre_mm: tuple[float, float, float], half_mm: float
) -> np.ndarray:
    """(D, H, W) 1 where a voxel's centre lies in a cube of the patient's axes, else 0."""
    index = np.indices(shape)[::-1].reshape(3, -1)
    mm = affine[:3, :3] @ index + affine[:3, 3:]
    inside = (np.abs(mm - np.array(centre_mm)[:, None]) <= half_mm).all(axis=0)
    return inside.reshape(shape).astype(np.float32)


def centroid_mm(values: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """Centre of mass in mm."""
    index = np.indices(values.shape)[::-1].reshape(3, -1)
    weight = values.ravel() / values.sum()
    return affine[:3, :3] @ (index @ weight) + affine[:3, 3]
