"""Writes ``docs/models/explanations.md`` out of what is stored with the shipped models: ``python -m benchmarks.explanation_pages``."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from benchmarks.networks import shipped_cards
from dashboard.audit.reading import has_evaluation
from dashboard.reports.explanations import explanation_sections

PAGE = Path(__file__).parents[1] / "docs" / "models" / "explanations.md"
HEAD = """# What the explanations of the shipped models are worth

Written by `python -m benchmarks.explanation_pages` out of the files beside each model's card; [what the checks ask](../trust.md). Numbers in
brackets are 95 % intervals over patients (lesions, or images where nobody is named), with their n.
"""


def page() -> str:
    """The whole page."""
    parts = [HEAD]
    for name, card in sorted(shipped_cards().items()):
        if not has_evaluation(card) or (card.task == "segmentation" and card.classes == ("Lesion",)):
            continue
        parts.append(f"\n## {card.title} (`{name}`)\n")
        for section in explanation_sections(card):
            title = section.title.removeprefix("Explanations: ")
            parts.append(f"\n### {title[0].upper()}{title[1:]}\n")
            parts += [f"\n{text}\n" for text in section.text]
            parts += [f"\n{table(one)}\n" for one in section.tables]
    return "".join(parts)


def table(frame: pd.DataFrame) -> str:
    """As Markdown; a bar within a cell is written out."""
    rows = [list(frame.columns), ["---"] * len(frame.columns), *frame.astype(str).to_numpy().tolist()]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "/") for cell in row) + " |" for row in rows)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
