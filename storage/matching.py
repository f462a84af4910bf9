"""Which recorded stack a proposal continues: a pure decision.

A stack keeps its identity, and with it the series of its results, while it grows, splits or joins
another. A proposal continues a recorded stack it shares a series with.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Known:
    """What matching needs to know of a recorded stack; `computed` when it ever had a job.

    `instances` are the versions that count now, whatever version the stack was recorded with.
    """

    id: int
    pipeline: str | None
    series: frozenset[str]
    instances: frozenset[int]
    computed: bool


@dataclass(frozen=True, slots=True)
class Wanted:
    """What matching needs to know of a proposal."""

    pipeline: str | None
    series: frozenset[str]
    instances: frozenset[int]


@dataclass(frozen=True, slots=True)
class Matching:
    """The decision.

    Attributes
    ----------
    continued : tuple of int or None
        For each proposal the id of the stack it continues; None for a new one.
    joined : tuple of (int, int)
        Stacks that go into another, with the index of the proposal that has their series now.
    left : tuple of int
        Stacks whose series no proposal has.
    """

    continued: tuple[int | None, ...]
    joined: tuple[tuple[int, int], ...]
    left: tuple[int, ...]


def match(known: Collection[Known], wanted: Sequence[Wanted]) -> Matching:
    """Match recorded stacks with proposals.

    Preferred are stacks of the same pipeline, then those that were computed, then those that share
    the most instances and series, then the oldest. A computed stack changes its pipeline only when
    none of its own pipeline has its series.
    """
    pairs = [
        (_preference(stack, proposal), stack.id, index)
        for stack in known
        for index, proposal in enumerate(wanted)
        if _may_continue(stack, proposal, wanted)
    ]
    continued: dict[int, int] = {}
    for _, stack_id, index in sorted(pairs, key=lambda pair: (pair[0], -pair[1]), reverse=True):
        if index not in continued and stack_id not in continued.values():
            continued[index] = stack_id
    rest = [stack for stack in known if stack.id not in continued.values()]
    homes = {stack.id: _home(stack, wanted) for stack in rest}
    return Matching(
        continued=tuple(continued.get(index) for index in range(len(wanted))),
        joined=tuple((stack, home) for stack, home in homes.items() if home is not None),
        left=tuple(stack for stack, home in homes.items() if home is None),
    )


def _preference(stack: Known, proposal: Wanted) -> tuple[bool, bool, int, int]:
    return (
        stack.pipeline == proposal.pipeline,
        stack.computed,
        len(stack.instances & proposal.instances),
        len(stack.series & proposal.series),
    )


def _may_continue(stack: Known, proposal: Wanted, wanted: Sequence[Wanted]) -> bool:
    if not stack.series & proposal.series:
        return False
    if not stack.computed or stack.pipeline == proposal.pipeline:
        return True
    return not any(
        other.pipeline == stack.pipeline and other.series & stack.series for other in wanted
    )


def _home(stack: Known, wanted: Sequence[Wanted]) -> int | None:
    """Index of the proposal that has most of a stack's series; its own pipeline's first."""
    sharing = [index for index, proposal in enumerate(wanted) if proposal.series & stack.series]
    return max(sharing, key=lambda index: _preference(stack, wanted[index]), default=None)
