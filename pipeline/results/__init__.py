"""Results: what a case is worth, written as DICOM objects in the study of its source.

The writers are built from the case and its context alone: the same two give the same bytes.
highdicom is imported when something is written, so that this package loads fast.
"""

from collections.abc import Collection, Iterator

from config.schema import Profile
from pipeline.case import BaseCase, Case
from pipeline.results.common import (
    NODE_MANUFACTURER,
    Basis,
    ResultBasis,
    ResultContext,
    ResultObject,
)
from pipeline.results.profiles import KEY_ROLE, PAGE_ROLE, PDF_ROLE, is_wanted

__all__ = ["NODE_MANUFACTURER", "ResultContext", "ResultObject", "write_results"]

_FULL: tuple[Profile, ...] = ("full",)


def write_results(
    case: BaseCase, context: ResultContext, profiles: Collection[Profile] = _FULL
) -> tuple[ResultObject, ...]:
    """Write what the profiles need, and the full report with its segmentations in any case.

    Parameters
    ----------
    case : BaseCase
        A case that went through all stages.
    context : ResultContext
        Series, number and time of the results, and who made them.
    profiles : collection of Profile
        What is to be sent; `profiles_of` tells which object belongs to which.

    Returns
    -------
    tuple of ResultObject
        One SEG per key phase and source series that has a mask (PS3.3 A.51), likewise what
        explains a volume by regression, then the TID 1500 report in a Comprehensive 3D SR
        (PS3.3 A.35.13), which is always there, then what the other profiles add, then what ends
        series of earlier results for which there is nothing. Of what is no stack the report alone.
    """
    from pipeline.results.seg import write_segmentations
    from pipeline.results.source import patient_study, tolerant_headers
    from pipeline.results.sr import write_report
    from pipeline.results.withdrawn import write_withdrawals

    if not isinstance(case, Case):
        from pipeline.results.class_report import write_class_report

        with tolerant_headers():
            return (write_class_report(Basis(case, context, patient_study(case.stack)[0])),)
    with tolerant_headers():
        basis = ResultBasis(case, context, patient_study(case.stack)[0])
        written = write_segmentations(basis)
        report = write_report(basis, written)
        made = (*(seg.result for seg in written), report, *_added(basis, profiles))
        return (*made, *write_withdrawals(basis, made, {*_FULL, *profiles}))


def _added(basis: ResultBasis, profiles: Collection[Profile]) -> Iterator[ResultObject]:
    """Write what the full profile does not have."""
    if is_wanted(KEY_ROLE, profiles):
        from pipeline.results.display import write_display

        yield from write_display(basis)
    if is_wanted(PDF_ROLE, profiles):
        from pipeline.results.page import write_page

        yield from write_page(basis, with_image=is_wanted(PAGE_ROLE, profiles))
