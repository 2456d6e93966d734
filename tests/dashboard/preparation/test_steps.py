"""Each step against a closed form, a slow re-derivation, or what was planted."""

from __future__ import annotations

import gc
import weakref
from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
from scipy.signal import argrelmax
from scipy.stats import gaussian_kde

from dashboard.preparation import trace as _  # noqa: F401, which registers the steps
from dashboard.preparation.itk import to_itk, watch
from dashboard.preparation.tissue import dice, noise_level, otsu
from dashboard.preparation.types import STEPS, State, StepResult
from models.context import RunContext
from models.errors import DataError
from models.types import Geometry, Image, Modality
from tests.dashboard.preparation.phantoms import block, centroid_mm, mr, tissues, turned
from tests.dashboard.quantify.thorax import draw


def run(step_id: str, image: Image, state: State | None = None, **params: object) -> StepResult:
    step = STEPS.get(step_id)
    assert step.applies(image) is None
    return step.run(image, step.spec.resolve(params), state or State())


def test_every_step_says_what_it_is_for_and_its_settings_pass_their_own_checks() -> None:
    for step in STEPS:
        assert step.spec.title
        assert 20 < len(step.spec.purpose) < 140
        assert step.spec.purpose.endswith(".")
        resolved = step.spec.resolve({})
        assert set(resolved) == {param.name for param in step.spec.params}
        with pytest.raises(DataError, match="has no setting 'nonsense'"):
            step.spec.resolve({"nonsense": 1})


def test_bias_field_recovers_the_field_that_was_multiplied_in() -> None:
    clean, ball = tissues((20, 32, 32))
    z, y, x = np.meshgrid(*[np.linspace(-1, 1, size) for size in clean.shape], indexing="ij")
    log_field = 0.25 * x - 0.15 * y * z + 0.2 * (y**2 - 0.3)
    shaded = clean * np.exp(log_field)
    result = run("bias-field", mr(shaded), State(mask=ball), shrink=2, iterations=20, levels=2)
    found = result.extras["log bias field"]
    assert np.corrcoef(found[ball], log_field[ball])[0, 1] > 0.97
    truth = log_field[ball] - log_field[ball].mean()
    assert np.abs(found[ball] - truth).mean() < 0.25 * np.abs(truth).mean()
    tissue = ball & (clean > 400)
    spread = [values[tissue].std() / values[tissue].mean() for values in (clean, shaded, result.image.values[0])]
    assert spread[2] < 0.35 * spread[1]  # most of what the shading had added is gone
    headline = result.verdict.measures[0]
    low, high = np.percentile(log_field[ball], (1, 99))
    assert headline.value == pytest.approx(np.exp(high - low), rel=0.12)
    np.testing.assert_allclose(result.image.values[0] * np.exp(found), shaded.astype(np.float32), rtol=1e-5)
    again = run("bias-field", mr(shaded), State(mask=ball), shrink=2, iterations=20, levels=2)
    assert again.image.values.tobytes() == result.image.values.tobytes()


def test_bias_field_wants_positive_values_of_an_mr() -> None:
    step = STEPS.get("bias-field")
    assert "put this step before" in str(step.applies(mr(np.linspace(-1, 1, 512).reshape(8, 8, 8))))
    chest = Image(np.zeros((1, 8, 8, 8), np.float32), "HU", Modality.CT)
    assert "this image is CT" in str(step.applies(chest))


def test_z_score_has_mean_0_and_deviation_1_in_the_mask() -> None:
    clean, ball = tissues()
    result = run("z-score", mr(clean), State(mask=ball))
    inside = result.image.values[0][ball].astype(np.float64)
    assert abs(inside.mean()) < 1e-5
    assert inside.std() == pytest.approx(1, abs=1e-5)
    inside = clean[ball].astype(np.float32).astype(np.float64)
    np.testing.assert_allclose(result.image.values[0], (clean - inside.mean()) / inside.std(), atol=1e-4)
    assert result.verdict.level == "pass"


def test_a_picture_in_the_unit_interval_is_not_cut_by_its_window_once_it_is_rescaled() -> None:
    values = np.random.default_rng(0).random((1, 20, 20)).astype(np.float32)
    picture = Image(values, "unit interval", Modality.MR)
    made = run("z-score", picture, State(mask=np.ones((1, 20, 20), bool))).image
    assert made.values.shape == (1, 20, 20)
    order = np.argsort(made.display().ravel(), kind="stable")
    assert np.corrcoef(values.ravel()[order], np.arange(400))[0, 1] > 0.95  # all greys are still told apart


def test_z_score_of_a_flat_image_is_one_sentence() -> None:
    step = STEPS.get("z-score")
    with pytest.raises(DataError, match="same value everywhere"):
        step.run(mr(np.full((8, 8, 8), 3.0)), {}, State())


def test_white_stripe_agrees_with_a_kernel_density_and_its_last_peak() -> None:
    """Grey matter at 300, white at 500, some enhancing tissue: the stripe is what lies 5 % of the brain around 500."""
    draw_from = np.random.default_rng(5)
    parts = (draw_from.normal(300, 20, 9000), draw_from.normal(500, 15, 7000), draw_from.uniform(550, 900, 500))
    brain = np.concatenate(parts)[:16464]
    values = draw_from.permutation(brain).reshape(21, 28, 28)
    result = run("white-stripe", mr(values), State(mask=np.ones(values.shape, bool)))
    grid = np.linspace(values.min(), values.max(), 800)
    density = gaussian_kde(values.ravel(), bw_method=0.08)(grid)
    peaks = argrelmax(density)[0]
    peak = grid[peaks[density[peaks] > 0.2 * density.max()][-1]]
    place = (values < peak).mean()
    low, high = np.quantile(values, (place - 0.05, place + 0.05))
    stripe = values[(values >= low) & (values <= high)]
    expected = (values - stripe.mean()) / stripe.std()
    found = result.image.values[0].astype(np.float64)
    scale, shift = np.polyfit(expected.ravel(), found.ravel(), 1)
    assert scale == pytest.approx(1, abs=0.1)
    assert shift == pytest.approx(0, abs=0.5)  # of the stripe's own deviation, about 2 of 500
    darker = run("white-stripe", mr(values), State(mask=np.ones(values.shape, bool)), weighting="T2")
    assert np.median(darker.image.values[0][values < 350]) == pytest.approx(0, abs=3)  # the highest peak is grey matter


def test_percentile_maps_the_bounds_to_0_and_1() -> None:
    values = np.arange(1000.0).reshape(10, 10, 10) + 1
    result = run("percentile", mr(values), State(mask=np.ones(values.shape, bool)), low=10, high=90)
    low, high = np.percentile(values, (10, 90))
    np.testing.assert_allclose(result.image.values[0], np.clip((values - low) / (high - low), 0, 1), atol=1e-6)


@pytest.mark.parametrize("kind", ["diffusion", "median"])
def test_noise_goes_and_edges_stay(kind: str) -> None:
    draw_from = np.random.default_rng(1)
    clean = np.full((6, 40, 40), 100.0)
    clean[:, :, 20:] = 400.0
    noisy = clean + draw_from.normal(0, 15, clean.shape)
    result = run("denoise", mr(noisy), State(mask=np.ones(clean.shape, bool)), kind=kind, conductance=3, iterations=5)
    smooth = result.image.values[0]
    away = np.ones(clean.shape, bool)
    away[:, :, 17:23] = False
    assert (smooth - clean)[away].std() < 0.6 * 15
    jump = smooth[:, 5:-5, 22].mean() - smooth[:, 5:-5, 17].mean()
    assert jump > 0.9 * 300
    assert result.verdict.measures[0].value > 30
    assert result.verdict.measures[1].value > 80


def test_the_noise_level_is_that_of_the_noise() -> None:
    noise = np.random.default_rng(2).normal(0, 7, (4, 80, 80)).astype(np.float32)
    slope = np.linspace(0, 300, 80, dtype=np.float32)[None, None, :]
    assert noise_level(noise + slope, np.ones(noise.shape, bool)) == pytest.approx(7, rel=0.05)


def test_otsu_parts_two_groups_in_the_middle_of_the_gap() -> None:
    values = np.concatenate([np.full(500, 10.0), np.full(300, 90.0)]).astype(np.float32)
    assert 10 < otsu(values) < 90
    assert otsu(values) == pytest.approx(50, abs=2)


def test_resampling_keeps_a_block_at_its_millimetres() -> None:
    affine = turned((0.8, 1.1, 4.0), 20, (-20.0, 15.0, -30.0))
    place = tuple(affine[:3, :3] @ [22, 18, 6] + affine[:3, 3])
    values = block((14, 40, 48), affine, place, 6.0) * 100
    result = run("resample", mr(values, affine), mm=1.5)
    geometry = result.image.geometry
    assert geometry is not None
    assert geometry.spacing == pytest.approx((1.5, 1.5, 1.5))
    found = centroid_mm(result.image.values[0], geometry.affine)
    np.testing.assert_allclose(found, centroid_mm(values, affine), atol=0.15)
    before, after = values.sum() * 0.8 * 1.1 * 4.0, result.image.values.sum() * 1.5**3
    assert after == pytest.approx(before, rel=0.03)
    assert result.to_before is not None
    np.testing.assert_allclose(affine @ result.to_before, geometry.affine, atol=1e-9)


def test_resampling_refuses_what_does_not_fit_into_memory() -> None:
    image = mr(np.zeros((40, 500, 500)), np.diag([4.0, 4.0, 40.0, 1.0]))
    with pytest.raises(DataError, match="choose larger ones"):
        STEPS.get("resample").run(image, {"mm": 0.5}, State())


def test_the_ct_window_is_linear_and_cuts() -> None:
    values = np.array([-1500, -1350, -600, 150, 900], np.float32).reshape(1, 1, 1, 5).repeat(2, axis=1)
    result = run("hu-window", Image(values, "HU", Modality.CT))
    np.testing.assert_allclose(result.image.values[0, 0, 0], [0, 0, 0.5, 1, 1], atol=1e-6)
    assert result.image.unit == "unit interval"
    assert result.image.windows[0].apply(result.image.values)[0, 0, 0, 2] == pytest.approx(0.5)


def test_the_cut_holds_both_lungs_at_their_millimetres() -> None:
    chest = draw(spacing=(4.0, 4.0, 6.0))
    result = run("lung-crop", chest.image, margin_mm=10)
    both = chest.right | chest.left
    made, mask = result.image, result.mask
    assert mask is not None
    assert made.geometry is not None
    assert mask.shape == made.values.shape[1:]
    assert made.values.size < 0.6 * chest.image.values.size
    np.testing.assert_allclose(
        centroid_mm(mask.astype(float), made.geometry.affine),
        centroid_mm(both.astype(float), chest.geometry.affine),
        atol=3,
    )
    assert mask.sum() == pytest.approx(both.sum(), rel=0.1)
    column, row, first = np.rint(result.to_before[:3, 3]).astype(int)  # type: ignore[index]
    depth, height, width = made.values.shape[1:]
    cut = chest.image.values[0, first : first + depth, row : row + height, column : column + width]
    np.testing.assert_array_equal(made.values[0], cut)


def test_registration_without_a_reference_is_one_sentence() -> None:
    with pytest.raises(DataError, match="choose a reference volume"):
        run("register", mr(tissues()[0]))


def test_steps_say_why_they_do_not_apply() -> None:
    plane = Image(np.zeros((1, 32, 32), np.float32), "stored value", Modality.MR)
    photo = Image(np.zeros((3, 32, 32), np.float32), "unit interval", Modality.PHOTO)
    assert "at least 8 slices" in str(STEPS.get("skull-strip").applies(plane))
    assert "voxel size is known" in str(STEPS.get("resample").applies(plane))
    for step in STEPS:
        assert step.applies(photo)


def test_steps_in_millimetres_refuse_unknown_and_unequal_ones() -> None:
    values = np.zeros((12, 8, 8))
    gaps = mr(values)
    assert gaps.geometry is not None
    gaps = replace(gaps, geometry=replace(gaps.geometry, uneven_mm=(3.0, 9.0)))
    for name in ("skull-strip", "resample", "register"):
        assert "slices at unequal distances (3 to 9 mm" in str(STEPS.get(name).applies(gaps))
    brain = STEPS.get("skull-strip")
    for bare in (None, Geometry(np.eye(4), "plane")):
        assert "voxel spacing" in str(brain.applies(replace(mr(values), geometry=bare)))


def test_dice_of_halves() -> None:
    first, second = np.zeros((4, 4, 4), bool), np.zeros((4, 4, 4), bool)
    first[:2], second[1:3] = True, True
    assert dice(first, second) == pytest.approx(0.5)
    assert dice(first & False, first & False) == 1


def test_a_spacing_survives_the_library() -> None:
    geometry = Geometry(np.diag([0.5, 0.7, 3.0, 1.0]))
    from dashboard.preparation.itk import from_itk, to_itk

    values = np.random.default_rng(0).random((5, 6, 7)).astype(np.float32)
    image = to_itk(values, geometry)
    assert image.GetSpacing() == pytest.approx((0.5, 0.7, 3.0))
    np.testing.assert_array_equal(from_itk(image), values)


def test_a_filter_that_was_watched_holds_nothing() -> None:
    ctx = RunContext()
    held = weakref.ref(ctx)
    values = np.random.default_rng(0).random((6, 6, 6), dtype=np.float32)
    diffusion = sitk.CurvatureAnisotropicDiffusionImageFilter()
    diffusion.SetNumberOfIterations(1)
    with watch(diffusion, ctx):
        diffusion.Execute(to_itk(values, None))
    del ctx, diffusion
    gc.collect()
    assert held() is None
