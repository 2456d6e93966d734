"""The trace: failures, the way back to the native grid, and which step flipped the call."""

from __future__ import annotations

import threading
from collections.abc import Mapping

import numpy as np
import pytest

from dashboard.preparation import grids
from dashboard.preparation.effects import what_changed
from dashboard.preparation.outcome import prepare_image
from dashboard.preparation.pictures import picture
from dashboard.preparation.presets import PRESETS, preset_for
from dashboard.preparation.trace import StepChoice, Trace, run_steps
from dashboard.preparation.types import STEPS, State, StepResult, StepSpec, Verdict, voxels, with_values
from dashboard.widgets.preparation_maps import _layer
from explainers.types import ParamValue
from models.context import RunContext
from models.errors import Cancelled, DataError
from models.types import Geometry, Image, Modality, Prediction, Window
from tests.dashboard.preparation.phantoms import block, centroid_mm, mr, tissues, turned


class Needs:
    """A toy step that fails unless the sum of the first voxel lies in a range, and doubles."""

    def __init__(self, name: str, low: float, high: float) -> None:
        self.spec = StepSpec(name, name.capitalize(), "A toy step for tests of the trace, nothing else.")
        self.low, self.high = low, high

    def applies(self, image: Image) -> str | None:
        return None if self.low <= float(voxels(image)[0, 0, 0]) <= self.high else "The toy does not apply."

    def run(self, image: Image, params: Mapping[str, ParamValue], state: State) -> StepResult:
        return StepResult(with_values(image, 2 * voxels(image)), Verdict("pass", "Doubled."))


class Half:
    """A toy step that keeps the left half of the columns."""

    spec = StepSpec("half", "Half", "A toy step for tests of the trace, nothing else.")

    def applies(self, image: Image) -> str | None:
        return None

    def run(self, image: Image, params: Mapping[str, ParamValue], state: State) -> StepResult:
        made = with_values(image, voxels(image)[:, :, : image.plane_shape[1] // 2])
        return StepResult(made, Verdict("pass", "Cut."), to_before=np.eye(4))


class Add:
    """A toy step: adds a number, on request fails, moves or sets a mask."""

    def __init__(self, name: str, amount: float = 0.0, fails: Exception | None = None, move: np.ndarray | None = None):
        self.spec = StepSpec(name, name.capitalize(), "A toy step for tests of the trace, nothing else.")
        self.amount, self.fails, self.move = amount, fails, move

    def applies(self, image: Image) -> str | None:
        return None

    def run(self, image: Image, params: Mapping[str, ParamValue], state: State) -> StepResult:
        if self.fails is not None:
            raise self.fails
        values = voxels(image) + np.float32(self.amount)
        made = with_values(image, values)
        if self.move is None:
            return StepResult(made, Verdict("pass", "Added."))
        assert made.geometry is not None
        geometry = Geometry(made.geometry.affine @ self.move)
        moved = grids.resampled(values, self.move, grids.shape_of(image))
        from dataclasses import replace

        return StepResult(
            replace(with_values(image, moved), geometry=geometry), Verdict("pass", "Moved."), to_before=self.move
        )


@pytest.fixture
def toys(monkeypatch: pytest.MonkeyPatch) -> dict[str, Add]:
    """Toy steps known under their ids while the test runs."""
    angle = np.radians(12)
    rigid = np.eye(4)
    rigid[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    rigid[:3, 3] = (4.0, -3.0, 1.0)
    steps = {
        "one": Add("one", 1.0),
        "ten": Add("ten", 10.0),
        "broken": Add("broken", fails=DataError("The toy is broken; mend it.")),
        "bug": Add("bug", fails=RuntimeError("deep inside")),
        "rigid": Add("rigid", move=rigid),
        "wants one": Needs("wants one", 1, 9),
        "wants none": Needs("wants none", 0, 0),
        "half": Half(),
    }
    monkeypatch.setattr(STEPS, "_members", STEPS._members | steps)
    return steps


def choices(*ids: str) -> list[StepChoice]:
    return [StepChoice(name) for name in ids]


def predicts(threshold: float) -> object:
    """ "High" where the mean of the slice exceeds a threshold."""

    def predict(image: Image) -> Prediction:
        share = float(1 / (1 + np.exp(-(image.values.mean() - threshold))))
        probabilities = np.array([1 - share, share], np.float32)
        return Prediction("toy", ("Low", "High"), probabilities, probabilities, np.full(2, 0.5, np.float32), True)

    return predict


@pytest.mark.usefixtures("toys")
def test_a_step_that_fails_is_recorded_and_the_others_go_on() -> None:
    image = mr(np.zeros((4, 6, 6)))
    trace = run_steps(image, choices("one", "broken", "bug", "ten"))
    assert [record.verdict.level for record in trace.records] == ["pass", "fail", "fail", "pass"]
    assert trace.records[1].verdict.sentence == "The toy is broken; mend it. The image stays as it was."
    assert "unexpectedly (RuntimeError)" in trace.records[2].verdict.sentence
    np.testing.assert_array_equal(trace.image.values, 11)
    assert all(record.seconds >= 0 for record in trace.records)
    assert trace.stages[2].image is trace.stages[1].image


@pytest.mark.usefixtures("toys")
def test_a_step_that_is_off_is_not_run_and_an_unknown_one_is_named() -> None:
    image = mr(np.zeros((4, 6, 6)))
    trace = run_steps(image, [StepChoice("one"), StepChoice("ten", on=False)])
    np.testing.assert_array_equal(trace.image.values, 1)
    with pytest.raises(DataError, match="no preparation step named 'polish'"):
        run_steps(image, choices("polish"))


@pytest.mark.usefixtures("toys")
def test_stopping_stops() -> None:
    stopped = threading.Event()
    seen: list[Trace] = []

    def show(trace: Trace) -> None:
        seen.append(trace)
        stopped.set()

    with pytest.raises(Cancelled):
        run_steps(mr(np.zeros((4, 6, 6))), choices("one", "ten"), RunContext(cancelled=stopped), show=show)
    assert [len(trace.records) for trace in seen] == [1]


@pytest.mark.usefixtures("toys")
def test_leaving_one_out_finds_the_step_that_flips_the_call() -> None:
    """The mean is 11 with both steps; without the larger one it falls under the threshold."""
    trace = run_steps(mr(np.zeros((5, 6, 6))), choices("one", "broken", "ten"))
    effects = what_changed(trace, 2, predicts(5.0))  # type: ignore[arg-type]
    assert [row.name for row in effects.rows] == ["With all steps", "Without one", "Without ten", "With none"]
    assert [row.decision for row in effects.rows] == [("High",), ("High",), ("Low",), ("Low",)]
    assert [row.step_id for row in effects.flipping] == ["ten"]
    means = [-np.log(1 / row.probabilities[1].astype(float) - 1) + 5 for row in effects.rows]
    np.testing.assert_allclose(means, [11, 10, 1, 0], atol=0.01)
    said = effects.sentence()
    assert said.startswith("With all steps: High 1.00.")
    assert "Without ten: Low (High 0.02), the call changes." in said


@pytest.mark.usefixtures("toys")
def test_steps_that_flip_only_together_are_not_blamed_alone() -> None:
    trace = run_steps(mr(np.zeros((5, 6, 6))), choices("ten", "ten"))
    effects = what_changed(trace, 2, predicts(5.0))  # type: ignore[arg-type]
    assert effects.flipping == ()
    assert "No single step changes the call, but all of them together do." in effects.sentence()


@pytest.mark.usefixtures("toys")
def test_a_step_left_out_is_the_only_difference_or_the_row_says_what_else_is() -> None:
    """What failed with all steps is not tried again without one; what then fails is named."""
    trace = run_steps(mr(np.zeros((5, 6, 6))), choices("one", "wants one", "wants none"))
    assert [record.verdict.level for record in trace.records] == ["pass", "pass", "fail"]
    shown: list[float] = []

    def predict(image: Image) -> Prediction:
        shown.append(float(image.values.mean()))
        return predicts(5.0)(image)  # type: ignore[operator, no-any-return]

    effects = what_changed(trace, 2, predict)
    assert [row.name for row in effects.rows[1:3]] == ["Without one, so without wants one too", "Without wants one"]
    assert shown == [2, 0, 1, 0]


@pytest.mark.usefixtures("toys")
def test_beyond_the_prepared_slice_nothing_is_known() -> None:
    trace = run_steps(mr(np.zeros((5, 6, 8))), choices("half"))
    laid = trace.plane_to_native(np.full((6, 4), 3, np.float32), 2, 2)
    np.testing.assert_array_equal(laid, np.repeat([[3.0] * 4 + [np.nan] * 4], 6, axis=0))
    assert trace.share_known(2) == 0.5
    layer = _layer(laid, True, "logit")
    assert layer is not None
    np.testing.assert_array_equal(layer.values, np.full((6, 4), 3))
    moved = _layer(laid[::-1, ::-1], True, "logit")
    assert moved is not None
    np.testing.assert_array_equal(moved.grid_to_image, [[1, 0, 4], [0, 1, 0], [0, 0, 1]])
    assert _layer(np.full((6, 8), np.nan, np.float32), True, "logit") is None


@pytest.mark.usefixtures("toys")
def test_work_counts_steps_and_answers() -> None:
    shares: list[float] = []
    done = prepare_image(mr(np.zeros((4, 6, 6))), choices("one", "ten"), 1, ctx=RunContext(on_progress=shares.append))
    assert shares == [0.5, 1.0]
    assert done.effects is None
    with pytest.raises(DataError, match="Slice 9 does not exist"):
        prepare_image(mr(np.zeros((4, 6, 6))), choices("one"), 9)


def test_a_block_is_found_again_through_crop_resampling_and_a_rigid_motion(toys: dict[str, Add]) -> None:
    """A map that marks the block on the prepared grid, laid back, marks it at the same millimetres of the scan."""
    affine = turned((1.0, 1.2, 3.0), 15, (-30.0, -20.0, 40.0))
    shape = (16, 44, 52)
    place = tuple(affine[:3, :3] @ [28, 20, 8] + affine[:3, 3])
    planted = block(shape, affine, place, 6.0)
    crop = np.eye(4)
    crop[:3, 3] = (6, 5, 2)
    toys["rigid"].move = toys["rigid"].move @ crop  # type: ignore[operator]
    image = mr(planted * 100, affine)
    trace = run_steps(image, [StepChoice("rigid"), StepChoice("resample", {"mm": 2.0})])
    geometry = trace.image.geometry
    assert geometry is not None
    # The motions are of the grid, so the anatomy stays at its millimetres.
    np.testing.assert_allclose(centroid_mm(trace.image.values[0], geometry.affine), place, atol=0.5)
    np.testing.assert_allclose(affine @ trace.to_native, geometry.affine, atol=1e-9)
    back = grids.resampled(trace.image.values[0], grids.inverse(trace.to_native), shape)
    np.testing.assert_allclose(centroid_mm(back, affine), centroid_mm(planted, affine), atol=0.5)
    native_slice = int(np.rint((np.linalg.inv(affine) @ [*place, 1])[2]))
    index = trace.slice_for(native_slice)
    laid = trace.slice_to_native(trace.image.values[0, index], index)
    np.testing.assert_allclose(
        laid[native_slice], trace.plane_to_native(trace.image.values[0, index], index, native_slice)
    )
    seen = np.argwhere(laid[native_slice] > 50)[:, ::-1].mean(axis=0)
    truth = np.argwhere(planted[native_slice] > 0)[:, ::-1].mean(axis=0)
    assert np.abs(seen - truth).max() < 1.0
    far = np.delete(laid, range(max(0, native_slice - 1), native_slice + 2), axis=0)
    assert np.isnan(far).all()


def test_steps_of_intensity_leave_the_grid_alone() -> None:
    clean, _ = tissues()
    trace = run_steps(mr(clean), choices("denoise", "z-score"))
    np.testing.assert_array_equal(trace.to_native, np.eye(4))
    values = np.random.default_rng(0).random(clean.shape).astype(np.float32)
    assert trace.slice_for(7) == 7
    np.testing.assert_allclose(trace.slice_to_native(values[7], 7)[7], values[7], atol=1e-6)
    assert np.isnan(np.delete(trace.slice_to_native(values[7], 7), 7, axis=0)).all()
    assert trace.share_known(7) == 1


def test_a_mask_is_carried_by_the_nearest_voxel() -> None:
    draw = np.random.default_rng(7)
    mask = draw.random((6, 9, 8)) > 0.5
    matrix = np.eye(4)
    matrix[:3, :3] = draw.normal(0, 0.2, (3, 3)) + np.diag([0.7, 1.3, 0.5])
    matrix[:3, 3] = (0.3, -0.6, 1.1)
    found = grids.carried(mask, matrix, (7, 6, 10))
    for slice_, row, column in np.ndindex(7, 6, 10):
        x, y, z = np.floor(matrix[:3] @ [column, row, slice_, 1] + 0.5).astype(int)
        inside = 0 <= x < 8 and 0 <= y < 9 and 0 <= z < 6
        assert found[slice_, row, column] == (inside and mask[z, y, x])


def test_coarser_grids_average_and_do_not_skip() -> None:
    """A bright plane between two coarse samples is still seen."""
    values = np.zeros((1, 1, 33), np.float32)
    values[..., 14] = 1.0
    coarse = grids.resampled(values, np.diag([4.0, 1, 1, 1]), (1, 1, 9))
    assert coarse.max() > 0.1
    assert coarse.sum() * 4 == pytest.approx(1, abs=0.05)


def test_pictures_hang_as_a_radiologist_hangs_them() -> None:
    """Whatever the order of axes in the file: the patient's left at the right, front and head at the top."""
    values = np.zeros((20, 30, 40), np.float32)
    values[14:18, 3:7, 30:36] = 100  # head, front, left
    window = Window.from_range("all", 0, 100)
    straight = picture(mr(values, np.diag([1.0, 1.0, 1.5, 1.0])), window, (33.0, 5.0, 16.0))
    stored = values.transpose(2, 0, 1)[:, ::-1]
    affine = np.array([[0, 0, 1.0, 0], [1.0, 0, 0, 0], [0, -1.5, 0, 28.5], [0, 0, 0, 1]])
    other = picture(mr(np.ascontiguousarray(stored), affine), window, (5.0, 3.0, 33.0))
    axial, coronal, sagittal = straight.planes
    assert axial.dtype == np.uint8
    assert [plane.shape for plane in other.planes] == [plane.shape for plane in straight.planes]
    for one, two in zip(straight.planes, other.planes, strict=True):
        assert np.abs(one.astype(int) - two.astype(int)).max() <= 2
    row, column = np.argwhere(axial > 128).mean(axis=0) / axial.shape
    assert row < 0.3
    assert column > 0.7
    row, column = np.argwhere(coronal > 128).mean(axis=0) / coronal.shape
    assert row < 0.3
    assert column > 0.7
    row, column = np.argwhere(sagittal > 128).mean(axis=0) / sagittal.shape
    assert row < 0.3
    assert column < 0.3
    assert axial.shape[0] / axial.shape[1] == pytest.approx(30 / 40, rel=0.05)


def test_presets_name_steps_that_exist_and_suit_the_image() -> None:
    for preset in PRESETS.values():
        for choice in preset.choices:
            assert choice.step_id in STEPS
    assert preset_for(mr(np.zeros((4, 6, 6)))).id == "brain-mr"
    assert preset_for(Image(np.zeros((1, 8, 8), np.float32), "HU", Modality.CT)).id == "chest-ct"
