"""Completeness: do the values add up to the score they explain (Sundararajan et al., ICML 2017, axiom 4)?"""

from __future__ import annotations

from collections.abc import Iterator

from explainers.quality.types import CHECKS, CheckSpec, Evidence, Level, Rule, Verdict


class Completeness:
    """Relative difference between the sum of the map and the difference of the scores of picture and baseline.

    Only of methods that promise completeness. A small error does not mean that the map has settled, so a map that says
    it has not converged is weak at best.
    """

    spec = CheckSpec(
        id="completeness",
        title="Completeness",
        question="Do the values of the map add up to the score?",
        measure="completeness error",
        unit="%",
        paper="Sundararajan et al. 2017, arXiv:1703.01365",
        order=10,
        brief="adds up within {} %",
    )
    rule = Rule(
        ok=5.0,
        fails=20.0,
        source="Sundararajan 2017, section 5, asks for 5 %; a fifth is our own limit",
    )

    def cost(self, evidence: Evidence) -> int:
        """See ``explainers.quality.types.Check``."""
        return 0

    def run(self, evidence: Evidence) -> Iterator[Verdict]:
        """See ``explainers.quality.types.Check``."""
        made = evidence.attribution
        if made.completeness_error is None:
            yield Verdict(
                self.spec.id, "not assessable", f"{made.title} does not promise that its values add up to the score."
            )
            return
        value = 100 * abs(made.completeness_error)
        settled = made.facts.get("converged", "yes") == "yes"
        level: Level = self.rule.level(value)
        if level == "ok" and not settled:
            level = "weak"
        names = ("score", "baseline score", "points", "change at the last doubling", "converged")
        yield Verdict(
            self.spec.id,
            level,
            _sentence(level, settled),
            value,
            expected=f"at most {self.rule.ok:.0f} %; {self.rule.source}",
            facts={name: made.facts[name] for name in names if name in made.facts},
        )


def _sentence(level: Level, settled: bool) -> str:
    if level == "ok":
        return "The values of the map add up to the score: nothing of the decision is missing from it."
    if not settled:
        return (
            "The map had not settled when its computation ended: compute it with more points before reading its detail."
        )
    if level == "weak":
        return "The values of the map add up to the score only roughly: do not read them as exact shares."
    return "The values of the map do not add up to the score: compute it with more points or choose another method."


CHECKS.register(Completeness.spec.id, Completeness())
