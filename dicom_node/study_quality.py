"""Study of the quality checks: how often they doubt good studies, how many wrong ones they catch.

Patients of ACDC are measured by the node's own chain as they are, and broken on purpose
(`models.training.breakages`). What the networks found is kept per study, so that the study goes on
where it stopped, and that other thresholds are judged in seconds.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from config.schema import CineSettings, Settings
from config.version import SOFTWARE_VERSION
from dicom_node.measure import plain_stack
from dicom_node.study_quality_report import WHOLE, StudyRow, told, write_report
from pipeline.case import CineCase, CineStack, Phases, Relevance, Segmentation
from pipeline.cine import cine_stages
from pipeline.errors import Rejection
from pipeline.stages import Localiser, Segmenter, Stage
from pipeline.stages.biomarkers import Quantify
from pipeline.verdicts import verdict_of

if TYPE_CHECKING:
    from models.registry import Card
    from models.split import Part
    from models.training.cases import LabelledVolume

_STEP, _NEXT = 3, 7  # through the breakages, from patient to patient and for each
# A network's own card says the same of every study, so that this tells no good one from a bad one.
_OF_NETWORK = "_known_error"


def study_quality(
    data: Path,
    output: Path,
    *,
    part: "Part",
    per_patient: int,
    settings: Settings,
    say: Callable[[str], None],
) -> Path:
    """Carry out the study, or go on where an earlier call with the same output stopped.

    Parameters
    ----------
    data : Path
        Folder of the labelled sets, with ACDC.
    output : Path
        Folder for what the networks found, and for `quality-<part>` as `.json` and `.md`.
    part : {"test", "validation", "train"}
        Thresholds are never chosen on the first; the networks were fitted to the last.
    per_patient : int
        So many breakages of each patient, dealt in turn.
    settings : Settings
        Say localiser, segmenter, thresholds and where to compute. Two phases are enough here:
        sets with truth have no more.
    say : callable
        Told each study when it is done.

    Returns
    -------
    Path
        The Markdown report.
    """
    from models.backend import choose_backend
    from models.predict import HeartLocaliser, StackSegmenter
    from models.registry import opened

    cine, worker = settings.pipelines.cine, settings.worker
    backend = choose_backend(worker.device, worker.precision, worker.threads)
    own = worker.weights_folder
    localiser = opened(HeartLocaliser, cine.localiser, backend, own)
    segmenter = opened(StackSegmenter, cine.segmenter, backend, own)
    kept = output / "studies" / what_decides(cine, (localiser.card, segmenter.card))
    rows = []
    for row in study_rows(data, kept, part, per_patient, chain(cine, localiser, segmenter)):
        rows.append(row)
        say(f"{row.patient}, {row.breakage} {row.degree:g}: {told(row.error)}, {row.verdict}")
    return write_report(rows, output, part)


def what_decides(settings: CineSettings, cards: "Sequence[Card]") -> str:
    """Name of the folder for what this version finds with these networks and settings.

    Thresholds apart, which are judged anew each time.
    """
    weights = (card.weights_sha256 for card in cards)
    deciding = (SOFTWARE_VERSION, settings.model_dump_json(exclude={"quality"}), *weights)
    return hashlib.sha256("".join(deciding).encode()).hexdigest()[:12]


def chain(settings: CineSettings, localiser: Localiser, segmenter: Segmenter) -> tuple[Stage, ...]:
    """The cine chain that measures two phases as if they were a whole cine."""
    two_phases = settings.model_copy(update={"min_phases_for_detection": 2})
    return cine_stages(two_phases, localiser, segmenter)


def study_rows(
    data: Path, kept: Path, part: "Part", per_patient: int, stages: Sequence[Stage]
) -> Iterator[StudyRow]:
    """Each patient of a part as it is, and broken on purpose; what is found lies in `kept`."""
    from models.split import patients
    from models.training import acdc
    from models.training.breakages import BREAKAGES, broken
    from models.training.cases import logged, usable

    kinds = [(name, degree) for name, (_, degrees) in BREAKAGES.items() for degree in degrees]
    names = patients("acdc", part)
    read = usable(names, lambda name: acdc.read_patient(data, name), logged("acdc"))
    for ed, es in read:
        first = _STEP * names.index(ed.patient)
        mine = [kinds[(first + _NEXT * turn) % len(kinds)] for turn in range(per_patient)]
        whole = plain_stack(
            np.stack([ed.images, es.images]), ed.pixel_spacing_mm, ed.slice_spacing_mm
        )
        study = StudyOf((ed, es), kept / ed.patient, stages)
        yield study.row(WHOLE, 0.0, whole)
        for name, degree in mine:
            stack = plain_stack(*broken(name, degree, ed, es))
            yield study.row(name, degree, stack)


@dataclass(frozen=True, slots=True)
class StudyOf:
    """A patient whose ED and ES are known, to be measured in several states.

    Attributes
    ----------
    truth : (LabelledVolume, LabelledVolume)
    folder : Path
        For what the networks found.
    stages : sequence of Stage
        The chain.
    """

    truth: "tuple[LabelledVolume, LabelledVolume]"
    folder: Path
    stages: Sequence[Stage]

    def row(self, breakage: str, degree: float, stack: CineStack) -> StudyRow:
        """Measure the patient in one state, or take what is kept of it, and judge it anew."""
        patient, path = self.truth[0].patient, self.folder / f"{breakage} {degree:g}.npz"
        try:
            case = _kept(path, stack) if path.is_file() else _keep(path, stack, self.stages)
        except Rejection:
            return StudyRow(patient, breakage, degree, None, None, "rejected", "rejected")
        case = Quantify()(case)
        values = {one.name: one.value for one in case.biomarkers}
        error, rv_error = (
            _error(values[f"{side}_ef"], self.truth, label)
            for side, label in (("lv", 1), ("rv", 3))
        )
        judged = self.stages[-1](case)
        verdict, checks = _verdict(judged, "lv_ef")
        rv_verdict, rv_checks = _verdict(judged, "rv_ef")
        return StudyRow(
            patient, breakage, degree, error, rv_error, verdict, rv_verdict, checks, rv_checks
        )


def _keep(path: Path, stack: CineStack, stages: Sequence[Stage]) -> CineCase:
    """Run the chain as far as the label maps, and keep them.

    Raises
    ------
    Rejection
        No left ventricle was found; kept, too.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    case = CineCase(stack)
    try:
        for stage in stages:
            case = stage(case)
            if stage.name == "refinement":
                break
    except Rejection:
        np.savez_compressed(path)
        raise
    relevance, phases, segmentation = case.relevance, case.phases, case.segmentation
    if relevance is None or phases is None or segmentation is None:
        raise ValueError("the chain does not segment")
    labels = {name: getattr(segmentation, name) for name in ("labels", "first_look", "uncleaned")}
    np.savez_compressed(
        path,
        probability=relevance.probability,
        relevant=np.array(relevance.relevant),
        centre_yx=np.array(relevance.centre_yx),
        phases=np.array([phases.ed, phases.es]),
        **labels,
    )
    return case


def _kept(path: Path, stack: CineStack) -> CineCase:
    """What `_keep` kept.

    Raises
    ------
    Rejection
        No left ventricle had been found.
    """
    with np.load(path) as kept:
        if "labels" not in kept:
            raise Rejection("no_left_ventricle", "rejected when it was measured")
        row, column = kept["centre_yx"].tolist()
        relevant = tuple(kept["relevant"].tolist())
        ed, es = kept["phases"].tolist()
        return CineCase(
            stack,
            relevance=Relevance(kept["probability"], relevant, (row, column)),
            phases=Phases(ed, es),
            segmentation=Segmentation(kept["labels"], kept["first_look"], kept["uncleaned"]),
        )


def _error(
    found: float | None, truth: "tuple[LabelledVolume, LabelledVolume]", label: int
) -> float | None:
    ed, es = (int((volume.labels == label).sum()) for volume in truth)
    return None if found is None else found - 100 * (ed - es) / ed


def _verdict(case: CineCase, name: str) -> tuple[str, tuple[str, ...]]:
    """The verdict on a biomarker, and the checks behind it, the network's own card left out."""
    own = [one for one in case.quality if not one.check.endswith(_OF_NETWORK)]
    biomarker = next(one for one in case.biomarkers if one.name == name)
    found = verdict_of(biomarker, own)
    checks = tuple(
        one.check
        for one in own
        if one.reason in found.reasons and (name in one.withholds or not one.withholds)
    )
    return found.verdict, checks
