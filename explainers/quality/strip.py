"""The trust strip: all checks of several maps of one picture and class, and one line of what they found."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from functools import cache

from torch import Tensor

from explainers import quality
from explainers.quality.types import CHECKS, Check, CheckSpec, Evidence, Level, Subject, Verdict
from explainers.types import Attribution
from models.errors import Cancelled, SightlineError
from models.registry import discover

Again = Callable[[Tensor], Attribution]
WORST: tuple[Level, ...] = ("fails", "weak", "ok", "not assessable")
HINTS = ("agreement",)  # may fail because of another map, so that alone they make a map weak, not false
TWICE = (
    "faithfulness",
    "road",
)  # ask the same in two ways, each with flaws of its own (Rong et al. 2022): both must fail


@cache  # asked for tens of times whenever a page is drawn
def checks() -> tuple[Check, ...]:
    """All checks, in the order of the strip."""
    discover(quality)
    return tuple(sorted(CHECKS, key=lambda check: check.spec.order))


def evidence_of(subject: Subject, attributions: Sequence[Attribution], again: Sequence[Again]) -> tuple[Evidence, ...]:
    """Each map with what it can be checked with; ``again`` explains another input as that map was made."""
    return tuple(
        Evidence(subject, made, repeat, tuple(other for other in attributions if other is not made))
        for made, repeat in zip(attributions, again, strict=True)
    )


def cost(
    evidence: Sequence[Evidence], chosen: Sequence[Check] | None = None, known: Container[tuple[int, str]] = ()
) -> int:
    """Inputs that the network will pass at most, gradients counted threefold."""
    return sum(
        check.cost(one)
        for check in (checks() if chosen is None else chosen)
        for index, one in enumerate(evidence)
        if (index, check.spec.id) not in known
    )


def strip(
    evidence: Sequence[Evidence], chosen: Sequence[Check] | None = None, known: Container[tuple[int, str]] = ()
) -> Iterator[tuple[int, Verdict]]:
    """Verdicts as they come: (index of the map, verdict), each replacing that check's earlier one of the map.

    First a coarse verdict of every check, cheap checks first, then finer ones in turn. A check that cannot be run on a
    map says so in its verdict; cancelling raises ``Cancelled``.

    Args:
        known: (index of the map, id of the check) that need not be run.
    """
    going = [
        (index, check, check.run(one))
        for check in (checks() if chosen is None else chosen)
        for index, one in enumerate(evidence)
        if (index, check.spec.id) not in known
    ]
    while going:
        left = []
        for index, check, verdicts in going:
            try:
                verdict = next(verdicts, None)
            except Cancelled:
                raise
            except SightlineError as error:
                yield index, Verdict(check.spec.id, "not assessable", str(error), broken=True)
                continue
            if verdict is not None:
                yield index, verdict
                if not verdict.final:
                    left.append((index, check, verdicts))
        going = left


def spec_of(verdict: Verdict) -> CheckSpec:
    """What the check of a verdict says of itself."""
    checks()  # which registers them
    return CHECKS.get(verdict.check).spec


def counted(verdicts: Iterable[Verdict]) -> str:
    """ "5 of 7 checks passed", of those that could be run; "nothing could be checked"."""
    judged = [one for one in verdicts if one.level != "not assessable"]
    passed = sum(one.level == "ok" for one in judged)
    return f"{passed} of {len(judged)} checks passed" if judged else "nothing could be checked"


def summary(verdicts: Iterable[Verdict]) -> Verdict:
    """One line for under the map: a level for all checks together, and the numbers of the worst first.

    It fails where a check fails, except that of ``TWICE`` all have to, and that ``HINTS`` do not count for it; it is weak
    where anything else is not ok.

    Its sentence reads like "faithful .12 over best control · stable .93 · agrees .61"; what could not be assessed is
    left out.
    """
    specs = {check.spec.id: check.spec for check in checks()}
    known = sorted(verdicts, key=lambda one: (WORST.index(one.level), specs[one.check].order))
    judged = [one for one in known if one.level != "not assessable"]
    if not judged:
        return Verdict("summary", "not assessable", "not assessable", final=all(one.final for one in known))
    parts = [
        f"{_mark(one.level)}{_brief(specs[one.check].brief or specs[one.check].title, one.value)}" for one in judged
    ]
    return Verdict("summary", together(judged), " · ".join(parts), final=all(one.final for one in known))


def together(judged: Sequence[Verdict]) -> Level:
    """The level of a map with these verdicts, of which none is "not assessable"; see :func:`summary`."""
    failing = {one.check for one in judged if one.level == "fails"}
    twice = {one.check for one in judged if one.check in TWICE}
    if failing - set(HINTS) - (set() if twice <= failing else twice):
        return "fails"
    return "ok" if all(one.level == "ok" for one in judged) else "weak"


def _mark(level: Level) -> str:
    return "" if level == "ok" else f"{level}: "


def _brief(pattern: str, value: float | None) -> str:
    """The number put into its words; without it where there is none."""
    if value is None:
        return pattern.partition("{}")[0].strip()
    return pattern.format(_short(value)) if "{}" in pattern else f"{pattern.lower()} {_short(value)}"


def _short(value: float) -> str:
    """Two digits: .93, −.02, 1.4, 12."""
    text = (
        f"{abs(value):.2f}".lstrip("0")
        if abs(value) < 0.995
        else f"{abs(value):.2g}"
        if abs(value) < 10
        else f"{abs(value):.0f}"
    )
    return f"−{text}" if value < 0 and text != ".00" else text
