"""A chain of stages, and the runner that times each one and records provenance."""

import time
from dataclasses import dataclass, replace
from typing import Generic

from pipeline.case import Case, ModelUse, ShortAxisStack, StageRecord
from pipeline.stages import AnyCase, CaseStage
from pipeline.stages.relevance import FindRelevantSlices, SliceExplanation, refuse_uncovered


@dataclass(frozen=True, slots=True)
class Chain(Generic[AnyCase]):
    """A chain of stages ready to run, with its networks loaded; serves any number of stacks.

    Attributes
    ----------
    stages : tuple of CaseStage
        In the order they run.
    device : str
        Where the networks compute, ``"cpu"`` or ``"cuda"``.
    numeric_backend : str
        What computes and how exactly; part of what decides the result.
    """

    stages: tuple[CaseStage[AnyCase], ...]
    device: str
    numeric_backend: str

    @property
    def models(self) -> tuple[ModelUse, ...]:
        """The networks of the chain, each once, in the order they take part."""
        return tuple(dict.fromkeys(model for stage in self.stages for model in stage.models))

    def carry(self, case: AnyCase, *, require_coverage: bool = False) -> AnyCase:
        """Carry a case through all stages.

        Parameters
        ----------
        case : BaseCase
            Of what was assembled.
        require_coverage : bool
            Refuse a stack whose first or last slice shows the LV.

        Raises
        ------
        Rejection
            The stack cannot be measured.
        NotYetCovered
            `require_coverage`, and an end slice shows the LV.
        """
        for stage in self.stages:
            case = self._timed(stage, case)
            if require_coverage and isinstance(case, Case):
                refuse_uncovered(case)
        return case

    def explain(self, stack: ShortAxisStack) -> SliceExplanation | None:
        """Return why slices of a stack are measured or not; None where the localiser decides."""
        every: tuple[object, ...] = self.stages
        stages = (stage for stage in every if isinstance(stage, FindRelevantSlices))
        return next((stage.explain(stack) for stage in stages), None)

    def _timed(self, stage: CaseStage[AnyCase], case: AnyCase) -> AnyCase:
        """Run one stage and record that it did."""
        started = time.perf_counter()
        after = stage(case)
        seconds = time.perf_counter() - started
        device = self.device if stage.models else "cpu"
        record = StageRecord(stage.name, seconds, device, stage.models)
        return replace(after, provenance=(*after.provenance, record))
