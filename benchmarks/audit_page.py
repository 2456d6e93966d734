"""How long the Audit page takes to answer: ``python -m benchmarks.audit_page [--cases N]``.

Runs the page without a browser (the time the server needs; drawing in the browser comes on top) on a made table, and
on the outside model's predictions where the data folder has them. For each tab: the first answer, then answers to a
change of the class in focus, each class new ("cold") and seen before ("warm").
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import typer
from streamlit.testing.v1 import AppTest

from benchmarks.audit import CASES, PATIENTS, made_table
from sample_data.samples import data_folder

SCRIPT = "from dashboard.pages import audit\naudit.page()\n"
FOLDER, FILE = "cxr14_external_predictions", "chexnet_reproduction_test_22433.parquet"


def written(folder: Path, cases: int) -> None:
    table = made_table(cases, max(1, cases * PATIENTS // CASES))
    frame = table.cases.copy()
    for k, name in enumerate(table.classes):
        frame[f"score_{name}"], frame[f"label_{name}"] = table.scores[:, k], table.labels[:, k]
    frame.to_parquet(folder / f"made_{cases}.parquet")


def timed(test: AppTest) -> float:
    began = time.perf_counter()
    test.run()
    assert not test.exception, test.exception
    return (time.perf_counter() - began) * 1000


def measure(source: str, tab: str) -> tuple[float, list[float], list[float]]:
    test = AppTest.from_string(SCRIPT, default_timeout=300)
    test.session_state["audit-tabs"] = tab
    test.run()
    test.selectbox(key="audit-source").set_value(source)
    first = timed(test)
    rounds: list[list[float]] = [[], []]
    for times in rounds:
        for place in range(1, 11):
            box = next(box for box in test.selectbox if box.label == "Class in focus")
            box.set_value(box.options[place].replace(" ", "_"))
            times.append(timed(test))
    return first, rounds[0], rounds[1]


def main(cases: Annotated[int, typer.Option(help="Rows of the made table.")] = CASES) -> None:
    given = data_folder()
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        (root / FOLDER).mkdir()
        written(root / FOLDER, cases)
        if given is not None and (given / FOLDER / FILE).is_file():
            (root / FOLDER / FILE).symlink_to(given / FOLDER / FILE)
        os.environ |= {"SIGHTLINE_DATA": str(root), "SIGHTLINE_CACHE": str(root / "cache")}
        from dashboard.pages.audit import TABS

        print(
            f"{'table':34}{'tab':14}{'first':>8}{'cold p50':>10}{'cold p95':>10}{'warm p50':>10}{'warm p95':>10}  (ms)"
        )
        for path in sorted((root / FOLDER).glob("*.parquet")):
            rows = []
            for tab in TABS:
                first, cold, warm = measure(f"data:{path.stem}", tab)
                cells = [first, *np.percentile(cold, (50, 95)), *np.percentile(warm, (50, 95))]
                rows.append(cells)
                print(f"{path.stem[:33]:34}{tab:14}{cells[0]:8.0f}" + "".join(f"{cell:10.0f}" for cell in cells[1:]))
            whole = pd.DataFrame(rows).median()
            print(f"{'':34}{'median':14}{whole[0]:8.0f}" + "".join(f"{cell:10.0f}" for cell in whole[1:]))


if __name__ == "__main__":
    typer.run(main)
