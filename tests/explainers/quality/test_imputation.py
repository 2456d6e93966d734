"""Guessed pixels against a sparse solver and against pytorch_grad_cam's."""

from __future__ import annotations

import numpy as np
import pytest
from pytorch_grad_cam.metrics.road import NoisyLinearImputer, neighbors_weights
from scipy.sparse import lil_matrix
from scipy.sparse.linalg import spsolve

from explainers.quality._imputation import impute, imputed
from models.errors import ExplainError


def slow(image: np.ndarray, missing: np.ndarray) -> np.ndarray:
    """Pixel by pixel, in float64, with scipy's sparse solver."""
    places = [tuple(place) for place in np.argwhere(missing)]
    number = {place: at for at, place in enumerate(places)}
    matrix, known = lil_matrix((len(places), len(places))), np.zeros((len(places), len(image)))
    for (row, column), at in number.items():
        for down in (-1, 0, 1):
            for right in (-1, 0, 1):
                other = row + down, column + right
                inside = 0 <= other[0] < missing.shape[0] and 0 <= other[1] < missing.shape[1]
                if (down, right) == (0, 0) or not inside:
                    continue
                weight = 1 / 12 if down and right else 1 / 6
                matrix[at, at] += weight
                if other in number:
                    matrix[at, number[other]] -= weight
                else:
                    known[at] += weight * image[:, other[0], other[1]]
    found = image.astype(np.float64)
    found[:, missing] = spsolve(matrix.tocsc(), known).reshape(len(places), -1).T
    return found


def masks(shape: tuple[int, int], seed: int) -> dict[str, np.ndarray]:
    draw = np.random.default_rng(seed)
    hole = np.zeros(shape, dtype=bool)
    hole[3:-4, 2:-2] = True
    edge = np.zeros(shape, dtype=bool)
    edge[: shape[0] // 2] = True
    return {"scattered": draw.random(shape) < 0.6, "a hole": hole, "to the edge": edge, "one": np.eye(*shape) == 1}


@pytest.mark.parametrize("shape", [(20, 27), (31, 18)])
def test_guesses_are_those_of_a_sparse_solver_and_of_pytorch_grad_cam(shape: tuple[int, int]) -> None:
    image = np.random.default_rng(1).standard_normal((3, *shape)).astype(np.float32)
    for name, missing in masks(shape, 2).items():
        found = impute(image, missing)
        np.testing.assert_allclose(found, slow(image, missing), atol=2e-5, err_msg=name)
        theirs = NoisyLinearImputer.setup_sparse_system((~missing).astype(np.float32), image, neighbors_weights)
        np.testing.assert_allclose(found[:, missing].T, spsolve(theirs[0].tocsc(), theirs[1]), atol=2e-5, err_msg=name)
        assert (found[:, ~missing] == image[:, ~missing]).all()


def test_a_large_hole_keeps_its_precision() -> None:
    rows, columns = np.mgrid[0:128, 0:128].astype(np.float32)
    image = (0.02 * rows - 0.03 * columns)[None]  # a plane is harmonic, so it comes back as it was
    missing = np.ones((128, 128), dtype=bool)
    missing[[0, -1]] = missing[:, [0, -1]] = False
    assert np.abs(impute(image, missing) - image).max() < 1e-3


def test_grey_channels_are_solved_once_with_the_same_result() -> None:
    grey = np.random.default_rng(3).random((1, 24, 24)).astype(np.float32)
    image = np.concatenate([grey * 4 - 2, grey * 3 - 1, grey * 5])
    missing = masks((24, 24), 4)["scattered"]
    assert (np.abs(next(imputed(image, missing[None])) - impute(image, missing)) < 1e-5).all()
    coloured = image.copy()
    coloured[1] = np.random.default_rng(5).random((24, 24))
    assert (next(imputed(coloured, missing[None])) == impute(coloured, missing)).all()


def test_nothing_known_is_said() -> None:
    with pytest.raises(ExplainError, match="all are missing"):
        impute(np.zeros((1, 4, 4), dtype=np.float32), np.ones((4, 4), dtype=bool))
    missing = np.ones((1200, 1200), dtype=bool)
    missing[0] = False
    with pytest.raises(ExplainError, match="too large"):
        impute(np.zeros((1, 1200, 1200), dtype=np.float32), missing)
