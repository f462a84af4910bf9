"""From a routed stack on disk to its findings and result objects: what a job and a file run share.

Networks are loaded at the first stack and kept for the next.
"""

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from config.schema import LOCALISER, NO_NETWORK, Profile, Settings
from config.version import SOFTWARE_VERSION
from pipeline.assemble import assemble, assemble_lge
from pipeline.case import BaseCase, CineStack
from pipeline.companion import companion_of
from pipeline.errors import Rejection
from pipeline.findings import SeriesFindings
from pipeline.picture_input import assemble_ecg, assemble_spect
from pipeline.pictures import ECG, NM_IMAGE, PICTURE_PIPELINES, SPECT
from pipeline.results import ResultContext, ResultObject, write_results
from pipeline.results.common import EarlierObject, result_uid
from pipeline.routing import Proposal
from pipeline.stages.relevance import SliceExplanation
from pipeline.stated import completed_findings, uncompleted_findings

if TYPE_CHECKING:
    from pipeline.cine import CinePipeline
    from pipeline.ecg import EcgPipeline
    from pipeline.lge import LgePipeline
    from pipeline.spect import SpectPipeline


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
    supersedes : tuple of EarlierObject
        Objects of earlier results of the stack that may lie in an archive.
    """

    series_seed: str
    generation: int
    created_at: datetime
    supersedes: tuple[EarlierObject, ...] = ()


@dataclass(frozen=True, slots=True)
class StandingResult:
    """The result that a stack has: its identity, and the UIDs of its objects."""

    identity: ResultIdentity
    sop_instance_uids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Analysis:
    """Findings of one stack and the objects that state them."""

    findings: SeriesFindings
    objects: tuple[ResultObject, ...]


class Analyser:
    """Runs the pipeline that a proposal names.

    Parameters
    ----------
    settings : Settings
    profiles : collection of Profile, optional
        What to write; without it what the destinations of the settings get.

    Attributes
    ----------
    profiles : frozenset of Profile
        What is written, beside the full report.
    """

    def __init__(self, settings: Settings, profiles: Collection[Profile] = ()) -> None:
        self._settings = settings
        self.profiles = frozenset(profiles or settings.profiles)
        self._cine: CinePipeline | None = None
        self._lge: LgePipeline | None = None
        self._ecg: EcgPipeline | None = None
        self._spect: SpectPipeline | None = None

    def analyse(
        self,
        proposal: Proposal,
        files: Mapping[str, Path],
        identity: ResultIdentity,
        *,
        require_coverage: bool = False,
        study: Iterable[SeriesFindings] = (),
        standing: StandingResult | None = None,
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
        study : iterable of SeriesFindings
            What was found so far in other stacks of the same patient and study; a late enhancement
            report takes in those of the cine.
        standing : StandingResult or None
            The result that there is; it is written once more, byte for byte, where all that
            decides a result is as it was.

        Raises
        ------
        Rejection
            The stack cannot be measured.
        NotYetCovered
            `require_coverage`, and an end slice shows the LV.
        """
        chain: CinePipeline | LgePipeline | EcgPipeline | SpectPipeline
        case: BaseCase
        if proposal.pipeline == ECG:
            chain = self._ecg_chain()
            case = chain.carry(assemble_ecg(proposal, files))
        elif proposal.pipeline == SPECT:
            chain = self._spect_chain()
            case = chain.carry(assemble_spect(proposal, files))
        elif proposal.pipeline == "lge":
            chain = self._lge_chain()
            case = chain.run(
                assemble_lge(proposal, files),
                companion_of(study),
                require_coverage=require_coverage,
            )
        else:
            chain = self._cine_chain()
            case = chain.run(self._cine_stack(proposal, files), require_coverage=require_coverage)
        pipeline, numeric_backend = str(proposal.pipeline), chain.numeric_backend
        identity = _of_its_own(identity, proposal)
        context = self._context(identity, pipeline, numeric_backend)
        if standing is not None:
            stood = _of_its_own(standing.identity, proposal)
            as_before = self._context(stood, pipeline, numeric_backend)
            if result_uid("sr", case, as_before) in standing.sop_instance_uids:
                context = as_before
        objects = write_results(case, context, self.profiles)
        findings = completed_findings(
            case, objects, pipeline=pipeline, numeric_backend=numeric_backend
        )
        return Analysis(findings, objects)

    def _context(
        self, identity: ResultIdentity, pipeline: str, numeric_backend: str
    ) -> ResultContext:
        site = self._settings.site
        return ResultContext(
            series_seed=identity.series_seed,
            instance_number=identity.generation,
            created_at=identity.created_at,
            timezone=site.timezone,
            institution=site.institution,
            station_name=site.station_name,
            software_version=SOFTWARE_VERSION,
            settings_digest=settings_digest(self._settings, pipeline),
            numeric_backend=numeric_backend,
            supersedes=identity.supersedes,
        )

    def explain(self, proposal: Proposal, files: Mapping[str, Path]) -> SliceExplanation | None:
        """Return why slices of a stack are measured or not.

        None where the localiser decides, and of what is no stack.

        Raises
        ------
        Rejection
            The images make no stack.
        """
        if proposal.pipeline in PICTURE_PIPELINES:
            return None
        if proposal.pipeline == "lge":
            return self._lge_chain().explain(assemble_lge(proposal, files))
        return self._cine_chain().explain(self._cine_stack(proposal, files))

    def _cine_stack(self, proposal: Proposal, files: Mapping[str, Path]) -> CineStack:
        return assemble(proposal, files, self._settings.pipelines.cine)

    def _cine_chain(self) -> "CinePipeline":
        if self._cine is None:
            from pipeline.cine import build_cine_pipeline

            settings = self._settings
            self._cine = build_cine_pipeline(settings.pipelines.cine, settings.worker)
        return self._cine

    def _lge_chain(self) -> "LgePipeline":
        if self._lge is None:
            from pipeline.lge import build_lge_pipeline

            settings = self._settings
            self._lge = build_lge_pipeline(settings.pipelines.lge, settings.worker)
        return self._lge

    def _ecg_chain(self) -> "EcgPipeline":
        settings = self._settings
        if self._ecg is None:
            from pipeline.ecg import build_ecg_pipeline

            self._ecg = build_ecg_pipeline(settings.pipelines.ecg, settings.worker)
        return self._ecg

    def _spect_chain(self) -> "SpectPipeline":
        settings = self._settings
        if self._spect is None:
            from pipeline.spect import build_spect_pipeline

            self._spect = build_spect_pipeline(settings.pipelines.spect, settings.worker)
        return self._spect


def _of_its_own(identity: ResultIdentity, proposal: Proposal) -> ResultIdentity:
    """Identity with a result series for each picture: several cases may share a source series.

    Tomograms are one case with their study.
    """
    first = proposal.headers[0]
    if proposal.pipeline not in PICTURE_PIPELINES or first.sop_class_uid == NM_IMAGE:
        return identity
    return replace(identity, series_seed=f"{identity.series_seed}/{first.sop_instance_uid}")


def left_alone(proposal: Proposal) -> SeriesFindings:
    """Findings of a series that no pipeline takes."""
    return uncompleted_findings(proposal, status="unrouted", code=None, reason=proposal.reason)


def rejected(proposal: Proposal, rejection: Rejection) -> SeriesFindings:
    """Findings of a stack that could not be measured."""
    return uncompleted_findings(
        proposal, status="rejected", code=rejection.code, reason=str(rejection)
    )


def settings_digest(settings: Settings, pipeline: str = "cine") -> str:
    """SHA-256 over every setting that decides the content of a result of a pipeline.

    A network that takes no part decides nothing.
    """
    table = getattr(settings.pipelines, pipeline)
    unused = set()
    if pipeline == "cine":
        unused |= {"volume_method", "regressor"} if table.volume_method == "segmentation" else set()
        unused |= {"slice_classifier"} if table.slice_classifier == LOCALISER else set()
        if table.disease_classifier == NO_NETWORK:
            unused |= {"disease_classifier", "min_confidence"}
    deciding = {
        pipeline: table.model_dump(mode="json", exclude=unused),
        "site": settings.site.model_dump(mode="json"),
    }
    return hashlib.sha256(json.dumps(deciding, sort_keys=True).encode()).hexdigest()
