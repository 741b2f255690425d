"""What a rule says."""

from dataclasses import dataclass
from typing import Final, Literal

Severity = Literal["critical", "warning", "note", "good"]
ORDER: Final[tuple[Severity, ...]] = ("critical", "warning", "note", "good")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that stands out."""

    rule: str
    severity: Severity
    title: str
    evidence: str
    """The figures."""
    threshold: str
    """When the rule speaks."""
    advice: str
    """What to do; empty where nothing is."""
    phase: str = ""
    """Where; empty for the whole run."""


@dataclass(frozen=True, slots=True)
class Group:
    """The same finding in several phases."""

    first: Finding
    evidence: tuple[tuple[str, str], ...]
    """Phase and figures, each."""


def grouped(findings: list[Finding]) -> list[Group]:
    """Put together what is the same but for its phase and its figures, in order."""
    groups: dict[tuple[str, str, str, str], list[Finding]] = {}
    for one in findings:
        groups.setdefault((one.rule, one.severity, one.title, one.advice), []).append(one)
    return [
        Group(same[0], tuple((one.phase, one.evidence) for one in same)) for same in groups.values()
    ]
