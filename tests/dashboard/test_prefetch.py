"""Images decoded in processes of their own: in order, within bounds, and whatever a file does to its decoder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Picture
from typer.testing import CliRunner

from dashboard.__main__ import app
from dashboard.folder_runs import prefetch
from dashboard.folder_runs.listing import units_of
from dashboard.folder_runs.planes import Plane, Unit, Wish
from dashboard.folder_runs.prefetch import EACH, decoded, default_workers
from dashboard.folder_runs.runs import predict_path
from dashboard.settings import ROOT
from models.io import Failure
from models.preprocess import InputSpec

MakeModel = Callable[..., Path]
RNG = np.random.default_rng(0)
WISH = Wish(asdict(InputSpec(32, 32)))


def picture(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Picture.fromarray(RNG.integers(0, 255, (40, 50), dtype=np.uint8)).save(path)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twelve pictures."""
    for number in range(12):
        picture(tmp_path / "in" / f"film {number:02d}.png")
    return tmp_path / "in"


@pytest.fixture
def trapped(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Decoders that a .trap file kills, or holds for ever where its name says so."""
    planted = tmp_path / "planted.py"
    planted.write_text(
        textwrap.dedent("""
        import os, signal, time
        from models.io import READERS, Reader
        from dashboard.folder_runs.planes import work
        def read(members, options):
            if "hold" in members[0].name:
                time.sleep(600)
            os.kill(os.getpid(), signal.SIGSEGV)
            yield
        READERS.register("fatal", Reader("fatal", "a trap", (".trap",), lambda head: head.startswith(b"TRAP"), read))
        work()
        """)
    )
    monkeypatch.setattr(prefetch, "_COMMAND", (sys.executable, str(planted)))
    for name in ("film 04.trap", "hold.trap", "zz.trap"):
        (folder / name).write_bytes(b"TRAP")
    return folder


def test_a_file_that_kills_or_holds_its_decoder_costs_itself_alone(
    make_model: MakeModel, trapped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prefetch, "patience", lambda unit: 0.3 if "hold" in unit.name else 60.0)
    monkeypatch.setattr(prefetch, "LOOK", 0.1)
    done = predict_path(trapped, str(make_model()), tmp_path / "s.csv", None, workers=2)
    assert done.written == 12
    skipped = json.loads((tmp_path / "s.manifest.json").read_text())["skipped"]
    assert sorted(skipped) == ["film 04.trap", "hold.trap", "zz.trap"]
    assert "decoder stop" in skipped["zz.trap"]
    assert "busy" in skipped["hold.trap"]


def test_a_decoder_gets_time_by_the_size_of_its_files(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(bytes(3_000_000))
    gone = str(tmp_path / "gone")
    assert prefetch.patience(Unit(0, "a", (str(tmp_path / "a"), gone), ("a", "gone"), "")) == prefetch.PATIENCE + 3


def test_an_answer_that_cannot_be_taken_is_a_failure_like_any_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, own = picture(tmp_path / "a.png"), prefetch.receive

    def receive(stream):
        item = own(stream)
        if isinstance(item, Plane) and item.name == "1":
            raise MemoryError
        return item

    monkeypatch.setattr(prefetch, "receive", receive)
    units = (Unit(place, f"{place}", (str(path),), ("a.png",), "") for place in range(4))
    items = [item for _, item in decoded(units, WISH, 1) if item is not None]
    assert [type(item) for item in items] == [Plane, Failure, Plane, Plane]
    assert (items[1].name, "MemoryError" in items[1].message) == ("1", True)


def test_decoders_that_cannot_start_are_one_sentence(
    make_model: MakeModel, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prefetch, "_COMMAND", (sys.executable, "-c", "raise SystemExit(1)"))
    command = ["predict", str(folder), "--model", str(make_model()), "--out", str(tmp_path / "s.csv"), "--workers", "1"]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 2
    assert "--workers 0" in result.output


def test_no_more_is_decoded_ahead_than_the_bound(tmp_path: Path) -> None:
    path = picture(tmp_path / "a.png")
    taken, ahead = 0, 8

    def units() -> Iterator[Unit]:
        nonlocal taken
        for place in range(4 * ahead):
            taken += 1
            yield Unit(place, f"{place}", (str(path),), ("a.png",), "")

    stream, used = decoded(units(), WISH, 2, ahead), 0
    for unit, item in stream:
        used += item is None
        if used == 5:
            time.sleep(0.5)  # time enough to read on, were it allowed
        assert taken - used <= ahead
        assert unit.place == used - (item is None)
    assert used == 4 * ahead


def test_a_zip_of_many_waits_too(tmp_path: Path) -> None:
    for name in ("first.zip", "second.zip"):
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            for number in range(4 * EACH):
                archive.write(picture(tmp_path / "made" / f"{name}{number}.png"), f"{name}{number}.png")
    units = [next(units_of([tmp_path / name])) for name in ("first.zip", "second.zip")]
    names = [item.name for _, item in decoded(units, WISH, 2) if isinstance(item, Plane)]
    assert names == [f"{name}{number}.png" for name in ("first.zip", "second.zip") for number in range(4 * EACH)]


def children() -> str:
    return subprocess.run(["ps", "--ppid", str(os.getpid()), "-o", "args="], capture_output=True, text=True).stdout


def test_workers_end_with_the_run(make_model: MakeModel, folder: Path, tmp_path: Path) -> None:
    path = picture(tmp_path / "a.png")
    stream = decoded((Unit(place, "a", (str(path),), ("a.png",), "") for place in range(100)), WISH, 1)
    next(stream)
    assert "dashboard.folder_runs.planes" in children()
    stream.close()
    assert "dashboard.folder_runs.planes" not in children()

    def show(done: int, total: int | None) -> None:
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        predict_path(folder, str(make_model()), tmp_path / "s.csv", None, show, workers=1)
    assert "dashboard.folder_runs.planes" not in children()
    assert caught.tb  # which keeps what was open


def test_a_run_is_not_held_up_at_its_end_by_a_decoder_that_hangs(trapped: Path) -> None:
    unit = next(one for one in units_of([trapped]) if one.name == "hold.trap")
    first = next(one for one in units_of([trapped]) if one.name == "film 00.png")
    stream = decoded((first, unit), WISH, 1)
    next(stream)
    began = time.monotonic()
    stream.close()
    assert time.monotonic() - began < 10
    assert "planted" not in children()


def test_a_handful_of_files_needs_no_process() -> None:
    assert default_workers(3) == 0
    assert default_workers(100_000) >= 1


def test_a_worker_reads_no_torch(tmp_path: Path) -> None:
    code = "import sys, dashboard.folder_runs.planes; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(ROOT)}).returncode == 0
