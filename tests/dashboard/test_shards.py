"""Folder runs divided among workers: what one process would write, whoever dies and whenever."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image as Picture
from typer.testing import CliRunner

from dashboard.__main__ import app
from dashboard.folder_runs import runs, sharded, shards, work
from dashboard.folder_runs.journal import Journal
from dashboard.folder_runs.runs import explain_paths, predict_path
from dashboard.folder_runs.where import Where
from dashboard.serving.local import LocalEngine
from dashboard.settings import ROOT
from models.errors import SightlineError, Unavailable
from tests.dashboard.inline_pool import Inline

MakeModel = Callable[..., Path]
SHARED = Where("processes", 2)
RNG = np.random.default_rng(0)


def picture(path: Path, size: tuple[int, int] = (40, 50)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Picture.fromarray(RNG.integers(0, 255, size, dtype=np.uint8)).save(path)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twenty pictures in two folders under the same names, and damage at the end."""
    for number in range(20):
        picture(tmp_path / "in" / "ab"[number % 2] / f"film {number // 2:02d}.png")
    (tmp_path / "in" / "c").mkdir()
    (tmp_path / "in" / "c" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    return tmp_path / "in"


@pytest.fixture
def inline(monkeypatch: pytest.MonkeyPatch) -> list[Inline]:
    """Runs by several processes do it in this one; the pools made."""
    made: list[Inline] = []

    def make(where: Where) -> Inline:
        made.append(Inline())
        return made[-1]

    monkeypatch.setattr(runs, "make_pool", make)
    return made


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def maps(paths: list[Path], model: Path, out: Path, where: Where = SHARED) -> tuple[list[Any], dict[str, bytes]]:
    """Entries of the manifest without what differs from run to run, and the files."""
    explain_paths(
        paths, str(model), ["grad-cam", "integrated-gradients"], None, out, None, 0, lambda *_: None, None, False, where
    )
    entries = json.loads((out / "manifest.json").read_text())["maps"]
    for entry in entries:
        entry.pop("runtime_s")
    assert not (out / "explain.shards").exists()
    return entries, {name: data for name, data in contents(out).items() if name.endswith((".npz", ".png"))}


def test_the_files_are_those_of_one_process(
    segmenter: MakeModel, folder: Path, tmp_path: Path, inline: list[Inline]
) -> None:
    model, seen = str(segmenter()), []
    one = predict_path(folder, model, tmp_path / "a" / "s.csv", None, workers=0)
    many = predict_path(folder, model, tmp_path / "b" / "s.csv", None, lambda *at: seen.append(at), where=SHARED)
    for name in ("s.csv", "s.manifest.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert contents(tmp_path / "a" / "s.masks") == contents(tmp_path / "b" / "s.masks")
    assert (many.read, many.written, many.fresh) == (one.read, one.written, one.fresh) == (20, 20, 20)
    assert many.failures.sentences == one.failures.sentences
    assert ((0, 21) in seen, seen[-1]) == (True, (21, 21))
    assert inline[0].sizes == [8, 8, 5]
    assert not (tmp_path / "b" / "s.shards").exists()
    predict_path(folder, model, tmp_path / "b" / "s.csv", None, where=SHARED)
    assert inline[1].sizes == [1]  # the damaged file alone


def test_maps_are_those_of_one_process_and_other_processes_go_on_where_it_stopped(
    make_model: MakeModel, folder: Path, tmp_path: Path, inline: list[Inline], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make_model(target_layers=["blocks.4"])
    paths = [folder / "a" / "film 00.png", folder / "b" / "film 00.png", folder / "c" / "broken.png"]
    entries, files = maps(paths, model, tmp_path / "one", Where(workers=0))
    assert {entry["file"].split(".")[0] for entry in entries} == {"film_00", "film_00-2"}
    assert maps(paths, model, tmp_path / "many") == (entries, files)
    made, own = [], LocalEngine.explain_targets

    def stopping(self, request, targets, ctx):
        if len(made) == 3:
            raise KeyboardInterrupt
        made.append(request.method)
        return own(self, request, targets, ctx)

    with monkeypatch.context() as patch:
        patch.setattr(LocalEngine, "explain_targets", stopping)
        with pytest.raises(KeyboardInterrupt):
            maps(paths, model, tmp_path / "both", Where(workers=0))
    asked: list[str] = []
    monkeypatch.setattr(
        LocalEngine,
        "explain_targets",
        lambda self, request, *rest: asked.append(request.method) or own(self, request, *rest),
    )
    assert maps(paths, model, tmp_path / "both") == (entries, files)
    assert asked == ["integrated-gradients"]


class Killed(BaseException):
    """The end of the process, as far as what it leaves goes."""


STEPS = (
    (LocalEngine, "predict"),
    (Journal, "add"),
    (Journal, "commit"),
    (Path, "replace"),
    (Path, "unlink"),
    (sharded.shutil, "rmtree"),
)


def end_at(step: int, patch: pytest.MonkeyPatch) -> list[str]:
    """From now on the process ends before the n-th of all steps; those taken."""
    taken: list[str] = []

    def counted(name: str, own: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any, **named: Any) -> Any:
            taken.append(name)
            if len(taken) == step:
                raise Killed
            return own(*given, **named)

        return call

    for place, name in STEPS:
        patch.setattr(place, name, counted(name, getattr(place, name)))
    return taken


def test_killed_at_any_step_nothing_is_lost_and_nothing_double(
    segmenter: MakeModel, folder: Path, tmp_path: Path, inline: list[Inline], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "FEW", 2)
    for path in sorted(folder.glob("*/*.png"))[:-4]:
        path.unlink()
    model = str(segmenter())
    loaded = runs.open_model(model)
    monkeypatch.setattr(runs, "open_model", lambda name: loaded)

    def files(out: Path) -> dict[str, bytes]:
        return contents(out / "s.masks") | {name: (out / name).read_bytes() for name in ("s.csv", "s.manifest.json")}

    def run(out: Path, where: Where) -> None:
        predict_path(folder, model, out / "s.csv", None, workers=0 if where is not SHARED else None, where=where)

    run(tmp_path / "whole", Where())
    expected = files(tmp_path / "whole")
    step, taken = 0, [""]
    while len(taken) > step - 1:
        step += 1
        out = tmp_path / f"{step}"
        with monkeypatch.context() as patch:
            taken = end_at(step, patch)
            try:
                run(out, SHARED)
            except Killed:
                assert len(taken) >= step
        run(out, (SHARED, Where())[step % 2])
        assert files(out) == expected, (step, taken[step - 1])
        assert not (out / "s.shards").exists()
    assert step > 30
    assert set(taken) == {name for _, name in STEPS}


def test_the_shards_of_other_settings_and_damaged_ones_are_thrown_away(
    make_model: MakeModel, folder: Path, tmp_path: Path, inline: list[Inline], monkeypatch: pytest.MonkeyPatch
) -> None:
    out, model = tmp_path / "s.csv", str(make_model())

    def killed(*given: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(sharded, "_take", killed)
        with pytest.raises(Killed):
            predict_path(folder, model, out, None, where=SHARED)
    (left, *_) = (tmp_path / "s.shards").glob("*.shard")
    kept = left.read_bytes()
    for damage in (kept[: len(kept) // 2], kept.replace(b'"folder": "', b'"folder": "../'), b"[1]"):
        shutil.rmtree(left.parent, ignore_errors=True)
        left.parent.mkdir()
        left.write_bytes(damage)
        predict_path(folder, model, out, None, where=SHARED)
        assert sum(inline[-1].sizes) == 21
        for name in ("s.journal", "s.csv"):
            (tmp_path / name).unlink()
    left.parent.mkdir()
    left.write_bytes(kept)
    other = str(make_model("other", calibration={"method": "temperature", "scale": 2.0}))
    predict_path(folder, other, out, None, where=SHARED)
    predict_path(folder, other, tmp_path / "anew.csv", None, workers=0)
    assert out.read_bytes() == (tmp_path / "anew.csv").read_bytes()


def test_an_image_that_no_worker_survives_costs_itself_alone(
    make_model: MakeModel, folder: Path, tmp_path: Path, inline: list[Inline], monkeypatch: pytest.MonkeyPatch
) -> None:
    own = LocalEngine.predict

    def predict(self, model_id, images, ctx):
        if any(image.plane_shape == (41, 50) for image in images):
            raise RuntimeError("no memory")
        return own(self, model_id, images, ctx)

    monkeypatch.setattr(LocalEngine, "predict", predict)
    picture(folder / "a" / "film 05.png", (41, 50))
    done = predict_path(folder, str(make_model()), tmp_path / "s.csv", None, where=SHARED)
    assert done.written == 19
    skipped = json.loads((tmp_path / "s.manifest.json").read_text())["skipped"]
    assert set(skipped) == {"c/broken.png", "a/film 05.png"}
    assert "RuntimeError: no memory" in skipped["a/film 05.png"]
    assert pd.read_csv(tmp_path / "s.csv").image.tolist() == [
        f"{side}/film {number:02d}.png" for side in "ab" for number in range(10) if (side, number) != ("a", 5)
    ]


def test_workers_that_never_survive_end_the_run(
    make_model: MakeModel, folder: Path, tmp_path: Path, inline: list[Inline], monkeypatch: pytest.MonkeyPatch
) -> None:
    def predict(self, model_id, images, ctx):
        raise RuntimeError("no driver")

    monkeypatch.setattr(LocalEngine, "predict", predict)
    with pytest.raises(Unavailable, match="no driver"):
        predict_path(folder, str(make_model()), tmp_path / "s.csv", None, where=SHARED)


def test_a_model_that_changes_under_a_run_ends_it(
    make_model: MakeModel, folder: Path, tmp_path: Path, inline: list[Inline], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make_model()
    loaded = runs.open_model(str(model))
    shutil.rmtree(model)
    make_model(calibration={"method": "temperature", "scale": 2.0})
    monkeypatch.setattr(runs, "open_model", lambda name: loaded)
    with pytest.raises(SightlineError, match="has changed"):
        predict_path(folder, str(model), tmp_path / "s.csv", None, where=SHARED)


def test_shards_grow_to_what_takes_a_while_and_leave_work_for_all(
    make_model: MakeModel, folder: Path, tmp_path: Path, inline: list[Inline], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "FEW", 1)
    monkeypatch.setattr(sharded, "EACH", 2)
    predict_path(folder, str(make_model()), tmp_path / "s.csv", None, where=SHARED)
    sizes = inline[0].sizes
    assert (sizes[0], max(sizes) > 1, sum(sizes)) == (1, True, 21)
    for number, size in enumerate(sizes):  # two for each of two workers out of what is left
        assert size <= max(1, (21 - sum(sizes[:number])) // 4)
    monkeypatch.setattr(sharded, "AIM_S", 1e-6)
    predict_path(folder, str(make_model("again")), tmp_path / "t.csv", None, where=SHARED)
    assert inline[1].sizes == [1] * 21


def test_ctrl_c_says_how_to_go_on(
    make_model: MakeModel, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*given: object, **named: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(runs, "predict_path", stopped)
    result = CliRunner().invoke(app, ["predict", str(folder), "--model", "any", "--out", str(tmp_path / "s.csv")])
    assert result.exit_code == 2
    assert "the same command goes on" in result.output


def test_options_that_do_not_go_together_are_one_sentence(folder: Path, tmp_path: Path) -> None:
    command = ["predict", str(folder), "--model", "any", "--out", str(tmp_path / "s.csv")]
    for options, reason in (
        (["--gpus", "1"], "--engine ray"),
        (["--engine", "processes", "--workers", "0"], "--workers 1"),
    ):
        result = CliRunner().invoke(app, [*command, *options])
        assert (result.exit_code, reason in result.output) == (2, True)


def test_without_ray_the_sentence_says_how_to_get_it(
    make_model: MakeModel, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(Unavailable, match="pip install -r requirements-serve"):
        predict_path(folder, str(make_model()), tmp_path / "s.csv", None, where=Where("ray"))


def gone(pid: str) -> bool:
    return not Path(f"/proc/{pid}").exists() or Path(f"/proc/{pid}/stat").read_text().split(") ")[1][0] == "Z"


def test_the_alarm_for_decoders_is_off_while_other_work_may_take_long(monkeypatch: pytest.MonkeyPatch) -> None:
    now, told = [0.0], []
    alarm = SimpleNamespace(
        dump_traceback_later=lambda seconds, **_: told.append(seconds),
        cancel_dump_traceback_later=lambda: told.append(0),
    )
    monkeypatch.setattr(shards, "faulthandler", alarm)
    monkeypatch.setattr(shards, "time", SimpleNamespace(monotonic=lambda: now[0]))
    watch = shards._Watch()

    def next_batch(rest_s: float, alike: bool = True) -> list[float]:
        told.clear()
        watch.begin(120.0)
        watch.rest(alike)
        now[0] += rest_s
        return list(told)

    assert next_batch(0.1) == [121, 0]  # nothing is known yet of how long it rests
    assert next_batch(0.1) == [121]
    assert next_batch(0.1) == next_batch(9.0) == []  # short so far: the alarm stays, two minutes away
    assert next_batch(0.1) == [121, 0]  # it was long
    assert next_batch(0.1, alike=False) == [121, 0]
    assert next_batch(0.1, alike=False) == [121, 0]


TRAP = """
import os, signal
from models.io import READERS, Reader
from dashboard.folder_runs.shards import serve
def read(members, options):
    os.kill(os.getpid(), signal.SIGSEGV)
    yield
READERS.register("fatal", Reader("fatal", "a trap", (".trap",), lambda head: head.startswith(b"TRAP"), read))
serve()
"""
KILLED = """
import os, signal, subprocess, sys
from pathlib import Path
from dashboard.folder_runs import pool
from dashboard.folder_runs.runs import predict_path
from dashboard.folder_runs.where import Where
pool._COMMAND = (sys.executable, sys.argv[4])
def show(done, total):
    if done >= 8:
        subprocess.run(["ps", "-ww", "--ppid", str(os.getpid()), "-o", "pid=,args="])
        os.kill(os.getpid(), signal.SIGKILL)
predict_path(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]), None, show, where=Where("processes", 1))
"""


def test_a_file_kills_its_worker_and_somebody_the_run_which_then_goes_on(
    make_model: MakeModel, folder: Path, tmp_path: Path, inline: list[Inline]
) -> None:
    model, out, planted = str(make_model()), tmp_path / "s.csv", tmp_path / "planted.py"
    planted.write_text(TRAP)
    (folder / "a" / "film 03.trap").write_bytes(b"TRAP")
    for number in range(40):
        picture(folder / "b" / f"more {number:02d}.png")
    script = [sys.executable, "-c", KILLED, str(folder), model, str(out), str(planted)]
    killed = subprocess.run(script, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    workers = [line.split()[0] for line in killed.stdout.splitlines() if str(planted) in line]
    assert len(workers) == 1
    until = time.monotonic() + 20
    while not all(map(gone, workers)) and time.monotonic() < until:
        time.sleep(0.05)
    assert all(map(gone, workers))
    done = predict_path(folder, model, out, None, where=SHARED)
    assert done.written == 60
    assert 0 < done.fresh <= 60 - 7  # of the first eight all but the trap were done, and the worker had two more shards
    assert set(json.loads((tmp_path / "s.manifest.json").read_text())["skipped"]) == {"c/broken.png", "a/film 03.trap"}
    predict_path(folder, model, tmp_path / "whole.csv", None, workers=0)
    found, whole = pd.read_csv(out), pd.read_csv(tmp_path / "whole.csv")
    assert found.image.tolist() == whole.image.tolist()
    np.testing.assert_allclose(
        found.iloc[:, 1:], whole.iloc[:, 1:], atol=1e-5
    )  # a worker has as many threads as it can
