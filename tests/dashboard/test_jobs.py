"""The worker, the store and the desk: sharing, cancelling, finding again."""

from __future__ import annotations

import gc
import os
import stat
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

import dashboard.jobs.folder as store_module
from dashboard.jobs.desk import Answer, Desk
from dashboard.jobs.store import ResultStore
from dashboard.serving.local import LocalEngine
from dashboard.serving.types import ExplainRequest, Explanation
from explainers.types import Attribution
from models.context import RunContext
from models.errors import ModelError
from models.types import Image, Modality, Target

MakeModel = Callable[..., Path]


def film(seed: int = 0) -> Image:
    values = np.random.default_rng(seed).random((1, 64, 64)).astype(np.float32)
    return Image(values, "unit interval", Modality.XRAY)


def ask_until_done(desk: Desk, request: ExplainRequest, owner: str = "one") -> Answer:
    for _ in range(600):
        answer = desk.ask(request, owner)
        if not answer.active:
            return answer
        time.sleep(0.05)
    raise TimeoutError


@pytest.fixture
def desk(make_model: MakeModel, tmp_path: Path) -> Iterator[Desk]:
    made = Desk(LocalEngine([make_model().parent]), ResultStore(tmp_path / "results"))
    yield made
    made.close()


def request_of(desk: Desk, method: str = "occlusion", seed: int = 0, **params: int) -> ExplainRequest:
    card = desk.engine.cards()["tiny"]
    return ExplainRequest("tiny", film(seed), method, card.target("Beta"), params)


def test_a_result_is_found_again_byte_for_byte(desk: Desk, make_model: MakeModel, tmp_path: Path) -> None:
    request = request_of(desk, "integrated-gradients", steps=9)
    fresh = ask_until_done(desk, request)
    assert fresh.explanation is not None
    after_restart = Desk(desk.engine, ResultStore(tmp_path / "results"))
    stored = after_restart.ask(request, "two")
    assert stored.stored
    assert stored.explanation is not None
    assert stored.explanation.attribution.values.tobytes() == fresh.explanation.attribution.values.tobytes()
    assert stored.explanation.attribution.target == fresh.explanation.attribution.target
    assert dict(stored.explanation.provenance) == dict(fresh.explanation.provenance)


def test_only_what_changed_has_a_new_key(desk: Desk) -> None:
    engine, card = desk.engine, desk.engine.cards()["tiny"]
    base = request_of(desk, window=16, stride=8)
    assert engine.key(base) == engine.key(request_of(desk, window=16, stride=8))
    others = [
        request_of(desk, window=16, stride=4),
        request_of(desk, seed=1, window=16, stride=8),
        ExplainRequest("tiny", base.image, "occlusion", card.target("Alpha"), base.params),
        ExplainRequest("tiny", base.image, "occlusion", card.target("Beta", "contrast", "Alpha"), base.params),
        ExplainRequest("tiny", base.image, "occlusion", base.target, base.params, seed=1),
        ExplainRequest("tiny", base.image, "grad-cam", base.target),
    ]
    assert len({engine.key(request) for request in [base, *others]}) == len(others) + 1


def test_cancelled_half_way_leaves_the_model_usable(desk: Desk) -> None:
    request = request_of(desk, window=16, stride=1)
    answer = desk.ask(request, "one")
    deadline = time.time() + 60
    while desk.ask(request, "one").progress < 0.05:
        assert time.time() < deadline
        time.sleep(0.01)
    desk.keep_only(set(), {answer.key}, "one")
    while desk.waiting:
        assert time.time() < deadline
        time.sleep(0.01)
    small = request_of(desk, window=32, stride=16)
    after = ask_until_done(desk, small).explanation
    alone = desk.engine.explain(small, RunContext())
    assert after is not None
    assert after.attribution.values.tobytes() == alone.attribution.values.tobytes()


def test_two_sessions_at_once_get_what_they_get_alone(desk: Desk) -> None:
    """Eight requests from two threads, cams and gradients mixed, against a serial run on a fresh copy."""
    requests = [request_of(desk, method, seed) for seed in range(4) for method in ("grad-cam", "integrated-gradients")]
    results: dict[int, Explanation] = {}

    def session(name: str, own: list[int]) -> None:
        for index in own:
            answer = ask_until_done(desk, requests[index], name)
            assert answer.explanation is not None, answer.message
            results[index] = answer.explanation

    threads = [threading.Thread(target=session, args=(f"s{k}", list(range(k, 8, 2)))) for k in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    for index, request in enumerate(requests):
        serial = desk.engine.explain(request, RunContext())
        assert results[index].attribution.values.tobytes() == serial.attribution.values.tobytes()


def test_the_store_is_private(desk: Desk, tmp_path: Path) -> None:
    ask_until_done(desk, request_of(desk, "grad-cam"))
    assert stat.S_IMODE((tmp_path / "results").stat().st_mode) == 0o700
    assert all(len(path.stem) == 64 for path in (tmp_path / "results").iterdir())


def test_a_damaged_result_counts_as_absent(desk: Desk, tmp_path: Path) -> None:
    """Cut short, emptied, or with any byte turned: never an error, and never a map that was not computed."""
    key = ask_until_done(desk, request_of(desk, "grad-cam")).key
    store = ResultStore(tmp_path / "results")
    path = tmp_path / "results" / f"{key}.npz"
    whole = path.read_bytes()
    good = store.get(key)
    assert good is not None
    damaged = [b"", whole[:100], whole[: len(whole) // 2]]
    damaged += [
        whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :] for at in range(0, len(whole), len(whole) // 40)
    ]
    refused = 0
    for content in damaged:
        path.write_bytes(content)
        found = store.get(key)
        if found is None:
            refused += 1
            assert not path.exists()
        else:  # the byte lay where nothing is read from
            assert found.attribution.values.tobytes() == good.attribution.values.tobytes()
    assert refused > len(damaged) / 2


def test_a_full_disk_costs_no_map(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(key: str, explanation: Explanation) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(desk._store, "put", full)
    assert ask_until_done(desk, request_of(desk, "grad-cam")).explanation is not None


def test_a_finished_job_holds_no_image(desk: Desk) -> None:
    request = request_of(desk, "occlusion", seed=9)
    watched = weakref.ref(request.image)
    assert ask_until_done(desk, request).state == "done"
    del request
    gc.collect()
    assert watched() is None


def test_the_store_forgets_the_oldest_first(desk: Desk, tmp_path: Path) -> None:
    explanation = ask_until_done(desk, request_of(desk, "occlusion")).explanation
    assert explanation is not None
    store = ResultStore(tmp_path / "small", limit_mb=0)
    store.put("a" * 64, explanation)
    assert store.get("a" * 64) is None
    store = ResultStore(tmp_path / "large", limit_mb=1)
    for name in "abc":
        store.put(name * 64, explanation)
    assert all(store.get(name * 64) is not None for name in "abc")


def made_map(shade: int, shape: tuple[int, ...] = (1, 64, 64)) -> Explanation:
    attribution = Attribution("m", "M", Target("Mass", 0), np.full(shape, shade, np.float32), True, "logit", {}, 0, 0.1)
    return Explanation(attribution, np.eye(3), (64, 64), {"shade": str(shade)})


def test_another_result_under_the_name_is_not_taken_for_it(tmp_path: Path) -> None:
    store = ResultStore(tmp_path / "results")
    store.put("a" * 64, made_map(1))
    files = {key: tmp_path / "results" / f"{key * 64}.npz" for key in "abcd"}
    files["b"].write_bytes(files["a"].read_bytes())
    np.savez(files["c"], values=np.zeros(3))
    files["d"].mkdir()
    assert [store.get(key * 64) is None for key in "abcd"] == [False, True, True, True]
    assert not files["b"].exists()
    store.put("b" * 64, made_map(2))
    found = store.get("b" * 64)
    assert found is not None
    assert found.attribution.values.max() == 2


def test_what_was_used_last_stays(tmp_path: Path) -> None:
    store, megabyte = ResultStore(tmp_path / "results", limit_mb=3), (1, 256, 900)
    for place, key in enumerate("abc"):
        store.put(key * 64, made_map(1, megabyte))
        os.utime(tmp_path / "results" / f"{key * 64}.npz", (place, place))
    assert store.get("a" * 64) is not None
    store.put("d" * 64, made_map(1, megabyte))
    assert [store.get(key * 64) is not None for key in "abcd"] == [True, False, True, True]


def test_the_folder_is_not_looked_through_at_each_put(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[str] = []
    own = store_module._stats
    monkeypatch.setattr(store_module, "_stats", lambda *where: looks.append(where[1]) or own(*where))
    store, other = (ResultStore(tmp_path / "results", limit_mb=2) for _ in range(2))
    looks.clear()
    for number in range(store_module.PUTS + 1):
        other.put(f"{number:064d}", made_map(1))
    assert looks == [".npz"] * 2
    store.put("a" * 64, made_map(1, (1, 512, 800)))  # what the other has put is counted
    assert sum(path.stat().st_size for path in (tmp_path / "results").iterdir()) <= 2 * 2**20


def test_a_draft_of_another_process_is_left_alone(tmp_path: Path) -> None:
    ResultStore(tmp_path / "results")
    new, old = tmp_path / "results" / "a.tmp", tmp_path / "results" / "b.tmp"
    for path in (new, old):
        path.write_bytes(b"half")
    os.utime(old, (0, 0))
    ResultStore(tmp_path / "results")
    assert new.exists()
    assert not old.exists()


SHARING = """
import sys
from pathlib import Path
import numpy as np
from dashboard.jobs.store import ResultStore
from tests.dashboard.test_jobs import made_map
store, own = ResultStore(Path(sys.argv[1]), limit_mb=1), np.random.default_rng(int(sys.argv[2]))
found = 0
for turn in range(250):
    shade = int(own.integers(8))
    key = f"{shade:064d}"
    if own.random() < 0.5:
        store.put(key, made_map(shade, (1, 160, 300)))
    else:
        kept = store.get(key)
        if kept is not None:
            assert (kept.attribution.values == shade).all() and kept.provenance["shade"] == str(shade)
            found += 1
assert found > 20, found
"""


def test_processes_share_a_store(tmp_path: Path) -> None:
    """Two put, get and trim the same eight results, of which five fit in."""
    folder = tmp_path / "results"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    running = [
        subprocess.Popen(
            [sys.executable, "-c", SHARING, str(folder), str(seed)], env=environment, stderr=subprocess.PIPE
        )
        for seed in range(2)
    ]
    for process in running:
        _, said = process.communicate(timeout=120)
        assert process.returncode == 0, said.decode()
    store = ResultStore(folder, limit_mb=1)
    assert all(store.get(path.stem) is not None for path in folder.iterdir())
    store.put("a" * 64, made_map(1))
    assert sum(path.stat().st_size for path in folder.iterdir()) <= 2**20


def test_a_model_that_cannot_be_loaded_says_so_each_time_and_stops_no_other(make_model: MakeModel) -> None:
    good = make_model()
    make_model("bad", id="bad", weights={"file": "weights.safetensors", "sha256": "0" * 64})
    engine = LocalEngine([good.parent])
    for _ in range(2):
        with pytest.raises(ModelError, match="does not match"):
            engine.predict("bad", [film()], RunContext())
    (prediction,) = engine.predict("tiny", [film()], RunContext())
    assert np.isfinite(prediction.logits).all()
