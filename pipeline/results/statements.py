"""What the report says besides numbers: origin, coverage and quality, as coded or plain text."""

from collections.abc import Iterator

import numpy as np
from highdicom.sr import (
    CodeContentItem,
    ContainerContentItem,
    ContentItem,
    ContentSequence,
    RelationshipTypeValues,
    TextContentItem,
)
from pydicom.sr.coding import Code

from pipeline.case import CineCase, QualityFinding, Verdict
from pipeline.results.codes import (
    COMMENT,
    FINDING,
    PAPILLARY_INCLUDED,
    PAPILLARY_MUSCLES,
    QUALITATIVE_EVALUATIONS,
)
from pipeline.results.common import DISCLAIMER, describe_model, models_of
from pipeline.results.seg import key_phases
from pipeline.results.source import header_notes


def statements(case: CineCase) -> ContainerContentItem:
    """Build the qualitative evaluations of TID 1500."""
    container = ContainerContentItem(
        QUALITATIVE_EVALUATIONS, relationship_type=RelationshipTypeValues.CONTAINS
    )
    container.ContentSequence = ContentSequence([*_statements(case)])
    return container


def _statements(case: CineCase) -> Iterator[ContentItem]:
    yield _text(COMMENT, DISCLAIMER)
    for model in models_of(case):
        yield _text(COMMENT, describe_model(model))
    for sentence in (*_phases(case), *_slices(case)):
        yield _text(COMMENT, sentence)
    yield CodeContentItem(PAPILLARY_MUSCLES, PAPILLARY_INCLUDED, RelationshipTypeValues.CONTAINS)
    yield from _quality(case.quality)
    for note in case.stack.missing:
        yield _text(FINDING, f"Stack: {note}")
    for note in header_notes(case.stack):
        yield _text(COMMENT, f"Source headers: {note}")


def _text(name: Code, sentence: str) -> TextContentItem:
    return TextContentItem(name, sentence, RelationshipTypeValues.CONTAINS)


def _phases(case: CineCase) -> Iterator[str]:
    times = case.stack.trigger_times_ms
    for phase, index in key_phases(case):
        yield (
            f"{phase.words.capitalize()}: phase {index + 1} of {len(times)} "
            f"(zero-based index {index}), trigger time {times[index]:.1f} ms."
        )


def _slices(case: CineCase) -> Iterator[str]:
    if case.relevance is None:
        return
    relevant, probability = case.relevance.relevant, case.relevance.probability
    chosen = ", ".join(str(z + 1) for z in np.flatnonzero(relevant))
    each = ", ".join(f"{p:.2f}" for p in probability)
    yield f"Slices that show the left ventricle and were measured: {chosen} of {len(relevant)}."
    yield f"Probability of left ventricle per slice: {each}."


def _quality(findings: tuple[QualityFinding, ...]) -> Iterator[ContentItem]:
    passed = [finding.check for finding in findings if finding.verdict is Verdict.OK]
    for finding in findings:
        if finding.verdict is not Verdict.OK:
            yield _text(FINDING, f"Quality {finding.verdict}: {finding.check}: {finding.reason}")
    if passed:
        yield _text(COMMENT, f"Quality checks passed: {', '.join(passed)}.")
