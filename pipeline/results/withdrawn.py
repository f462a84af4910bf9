"""What ends a result series for which a newer result has nothing (decision 10).

Viewers show the newest object of a series: without these they would show masks and numbers that
hold no more as the current ones.
"""

from collections.abc import Collection, Iterable, Iterator

from highdicom.sr import MeasurementsAndQualitativeEvaluations, TrackingIdentifier
from pydicom.uid import Comprehensive3DSRStorage, SegmentationStorage

from config.schema import Profile
from pipeline.results.codes import FINDING, NOTHING_DRAWN
from pipeline.results.common import (
    EarlierObject,
    ObjectIdentity,
    ResultBasis,
    ResultObject,
    result_uid,
)
from pipeline.results.profiles import is_wanted
from pipeline.results.seg import write_withdrawn_segmentation
from pipeline.results.series import series_suffix
from pipeline.results.sr import report_object, used_images
from pipeline.results.statements import text_item
from pipeline.results.uids import series_uid, tracking_uid

_SAID = "Withdrawn: the result that replaces this one has nothing in its place."


def write_withdrawals(
    basis: ResultBasis, written: Iterable[ResultObject], profiles: Collection[Profile]
) -> Iterator[ResultObject]:
    """Write the newest object of each series of SEG or SR that this result does not go on with.

    Parameters
    ----------
    basis : ResultBasis
    written : iterable of ResultObject
        All others of the result.
    profiles : collection of Profile
        Which roles it has.
    """
    kept = {one.series_instance_uid for one in written}
    last = {one.series_instance_uid: one for one in basis.context.supersedes}
    for series, earlier in last.items():
        if series in kept or not is_wanted(earlier.role, profiles):
            continue
        if earlier.sop_class_uid == SegmentationStorage:
            yield write_withdrawn_segmentation(basis, _identity(basis, earlier))
        elif earlier.sop_class_uid == Comprehensive3DSRStorage:
            yield _withdrawn_report(basis, _identity(basis, earlier))


def _identity(basis: ResultBasis, earlier: EarlierObject) -> ObjectIdentity:
    """Identity in the series of an earlier object, which may be that of another stack."""
    series, role = earlier.series_instance_uid, earlier.role
    if series != series_uid(basis.context.series_seed, role):
        role = role.partition(".")[0] + series_suffix(series)
    return ObjectIdentity(role, result_uid(role, basis.case, basis.context), series)


def _withdrawn_report(basis: ResultBasis, identity: ObjectIdentity) -> ResultObject:
    """Write a report without numbers."""
    group = MeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(
            uid=tracking_uid(basis.context.series_seed, identity.role),
            identifier=NOTHING_DRAWN.label,
        )
    )
    group[0].ContentSequence.append(text_item(FINDING, _SAID))
    return report_object(basis, identity, groups=[group], images=used_images(basis))
