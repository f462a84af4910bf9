"""First stage: which slices show the left ventricle, and where the heart lies."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from pipeline.case import Case, Float32, Float64, ModelUse, Relevance, ShortAxisStack
from pipeline.errors import NotYetCovered, Rejection
from pipeline.stages import Localiser, SliceClassifier, StackCase, model_use

# The localiser sees this many phases, spread over the cycle, and the highest probability counts:
# a basal slice that shows the LV around ED alone still belongs to the ED volume. Where the LV has
# left a slice the segmenter sees that for itself; a slice not looked at is lost.
LOCALISED_PHASES = 10


@dataclass(frozen=True, slots=True)
class SliceExplanation:
    """Why slices were measured or not.

    Attributes
    ----------
    images : float32 [z, y, x]
        Of the phase in which each slice speaks most for the LV.
    seen : float32 [z, y, x]
        Where in them the network sees the LV (Grad-CAM), 0 to 1.
    probability : float64 [z]
        That the slice shows the LV.
    relevant : bool [z]
        Whether it is measured.
    """

    images: Float32
    seen: Float32
    probability: Float64
    relevant: npt.NDArray[np.bool_]


class FindRelevantSlices:
    """Keep the one run of slices on which the LV is seen.

    Parameters
    ----------
    localiser : Localiser
        Finds the heart, and the slices that show it.
    threshold : float
        A slice shows the LV from this probability on.
    classifier : SliceClassifier, optional
        Tells which slices show the LV in place of the localiser.
    """

    name = "relevance"

    def __init__(
        self, localiser: Localiser, threshold: float, classifier: SliceClassifier | None = None
    ) -> None:
        self._localiser = localiser
        self._classifier = classifier
        self._threshold = threshold
        networks = (localiser, classifier) if classifier is not None else (localiser,)
        self.models: tuple[ModelUse, ...] = tuple(model_use(one.card) for one in networks)

    def __call__(self, case: StackCase) -> StackCase:
        """Return the case with its relevance.

        Raises
        ------
        Rejection
            ``no_left_ventricle``: no slice reaches the threshold.
        """
        stack = case.stack
        phases = phases_to_localise(len(stack.frames))
        images = stack.frames[phases]
        n_phases, n_slices, rows, columns = images.shape
        flat = images.reshape(-1, rows, columns)
        found = self._localiser(flat, stack.pixel_spacing_mm)
        shows = found.lv_probability
        if self._classifier is not None:
            shows = self._classifier(flat, stack.pixel_spacing_mm)
        probability = shows.reshape(n_phases, n_slices).max(axis=0)
        relevant = relevant_run(probability, self._threshold)
        if not relevant.any():
            raise Rejection(
                "no_left_ventricle",
                f"none of the {n_slices} slices shows a left ventricle "
                f"(highest probability {probability.max():.2f})",
            )
        found_at = Relevance(probability, tuple(relevant.tolist()), found.centre_yx)
        return replace(case, relevance=found_at)

    def explain(self, stack: ShortAxisStack) -> SliceExplanation | None:
        """Return what the classifier sees in each slice; None where there is none."""
        classifier, spacing_mm = self._classifier, stack.pixel_spacing_mm
        if classifier is None:
            return None
        phases = stack.frames[phases_to_localise(len(stack.frames))]
        n_phases, n_slices, *shape = phases.shape
        shows = classifier(phases.reshape(-1, *shape), spacing_mm).reshape(n_phases, n_slices)
        images = phases[shows.argmax(axis=0), np.arange(n_slices)]
        probability = shows.max(axis=0)
        return SliceExplanation(
            images,
            np.stack([classifier.grad_cam(image, spacing_mm) for image in images]),
            probability,
            relevant_run(probability, self._threshold),
        )


def phases_to_localise(n_phases: int) -> list[int]:
    """Spread the phases the localiser sees evenly over the cycle, from the first."""
    n = min(LOCALISED_PHASES, n_phases)
    return [k * n_phases // n for k in range(n)]


def relevant_run(probability: Float64, threshold: float) -> npt.NDArray[np.bool_]:
    """Find the contiguous run of slices with the highest mass above the threshold.

    The run maximises the sum of ``probability - threshold``: a single weak slice between strong
    ones does not cut the ventricle in two, and two separate runs never both stay.

    Parameters
    ----------
    probability : float64 [z]
        Probability that each slice shows the LV.
    threshold : float
        From this probability on a slice counts for the run.

    Returns
    -------
    bool [z]
        All False when no slice reaches the threshold.
    """
    gain = np.concatenate([[0.0], np.cumsum(probability - threshold)])
    relevant = np.zeros(len(probability), dtype=np.bool_)
    strong = np.flatnonzero(probability >= threshold)
    runs = [(first, last + 1) for first in strong for last in strong if first <= last]
    if runs:
        first, end = max(runs, key=lambda run: (gain[run[1]] - gain[run[0]], run[1] - run[0]))
        relevant[first:end] = True
    return relevant


def ends_covered(relevance: Relevance) -> tuple[bool, bool]:
    """Whether the first and the last slice of the stack lie beyond the ventricle.

    Which of the two ends is base or apex depends on the direction of the stack; see
    `pipeline.stages.coverage.apex_is_last`.
    """
    return not relevance.relevant[0], not relevance.relevant[-1]


def refuse_uncovered(case: Case) -> None:
    """Refuse a stack that still ends inside the ventricle.

    Raises
    ------
    NotYetCovered
        The first or the last slice shows the LV, so more slices are probably on their way.
    """
    if case.relevance is not None and not all(ends_covered(case.relevance)):
        raise NotYetCovered(
            "the first or the last slice shows the left ventricle: more are expected"
        )


def middle_slices(relevance: Relevance) -> list[int]:
    """Indices of the middle third of the relevant slices, three at least where there are three."""
    run = [z for z, is_relevant in enumerate(relevance.relevant) if is_relevant]
    keep = max(min(3, len(run)), len(run) // 3)
    first = (len(run) - keep) // 2
    return run[first : first + keep]
