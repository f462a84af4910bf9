"""From a routed stack on disk to its findings and result objects: what a job and a file run share.

Networks are loaded at the first stack and kept for the next.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from config.schema import Settings
from config.version import SOFTWARE_VERSION
from pipeline.assemble import assemble
from pipeline.errors import Rejection
from pipeline.findings import SeriesFindings, completed_findings, uncompleted_findings
from pipeline.results import ResultContext, ResultObject, write_results
from pipeline.routing import Proposal

if TYPE_CHECKING:
    from pipeline.cine import CinePipeline


@dataclass(frozen=True, slots=True)
class ResultIdentity:
    """What fixes where a result stands among those of its stack.

    Attributes
    ----------
    series_seed : str
        Decides the result series; the same for every result of a stack.
    generation : int
        1 for the first result of a stack, one more for each that supersedes; InstanceNumber.
    created_at : datetime
        Aware UTC; content date and time of the objects.
    """

    series_seed: str
    generation: int
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Analysis:
    """Findings of one stack and the objects that state them."""

    findings: SeriesFindings
    objects: tuple[ResultObject, ...]


class Analyser:
    """Runs the pipeline that a proposal names."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._cine: CinePipeline | None = None

    def analyse(
        self,
        proposal: Proposal,
        files: Mapping[str, Path],
        identity: ResultIdentity,
        *,
        require_coverage: bool = False,
    ) -> Analysis:
        """Assemble, measure and write one stack.

        Parameters
        ----------
        proposal : Proposal
            A stack with a pipeline.
        files : mapping of SOP Instance UID to Path
            Where its instances lie.
        identity : ResultIdentity
            Series, number and time of the results.
        require_coverage : bool
            Refuse a stack that still ends inside the ventricle.

        Raises
        ------
        Rejection
            The stack cannot be measured.
        NotYetCovered
            `require_coverage`, and an end slice shows the LV.
        """
        pipeline = self._cine_pipeline()
        stack = assemble(proposal, files, self._settings.pipelines.cine)
        case = pipeline.run(stack, require_coverage=require_coverage)
        site = self._settings.site
        context = ResultContext(
            series_seed=identity.series_seed,
            instance_number=identity.generation,
            created_at=identity.created_at,
            timezone=site.timezone,
            institution=site.institution,
            station_name=site.station_name,
            software_version=SOFTWARE_VERSION,
            settings_digest=settings_digest(self._settings),
            numeric_backend=pipeline.numeric_backend,
        )
        objects = write_results(case, context)
        findings = completed_findings(
            case, objects, pipeline="cine", numeric_backend=pipeline.numeric_backend
        )
        return Analysis(findings, objects)

    def _cine_pipeline(self) -> "CinePipeline":
        if self._cine is None:
            from pipeline.cine import build_cine_pipeline

            self._cine = build_cine_pipeline(self._settings.pipelines.cine, self._settings.worker)
        return self._cine


def left_alone(proposal: Proposal) -> SeriesFindings:
    """Findings of a series that no pipeline takes."""
    return uncompleted_findings(proposal, status="unrouted", code=None, reason=proposal.reason)


def rejected(proposal: Proposal, rejection: Rejection) -> SeriesFindings:
    """Findings of a stack that could not be measured."""
    return uncompleted_findings(
        proposal, status="rejected", code=rejection.code, reason=str(rejection)
    )


def settings_digest(settings: Settings) -> str:
    """SHA-256 over every setting that decides the content of a result.

    A regressor that takes no part decides nothing.
    """
    cine = settings.pipelines.cine
    unused = {"volume_method", "regressor"} if cine.volume_method == "segmentation" else None
    deciding = {
        "cine": cine.model_dump(mode="json", exclude=unused),
        "site": settings.site.model_dump(mode="json"),
    }
    return hashlib.sha256(json.dumps(deciding, sort_keys=True).encode()).hexdigest()
