"""Results: what a case is worth, written as DICOM objects in the study of its source.

The writers are built from the case and its context alone: the same two give the same bytes.
highdicom is imported when something is written, so that this package loads fast.
"""

from pipeline.case import Case
from pipeline.results.common import NODE_MANUFACTURER, ResultContext, ResultObject

__all__ = ["NODE_MANUFACTURER", "ResultContext", "ResultObject", "write_results"]


def write_results(case: Case, context: ResultContext) -> tuple[ResultObject, ...]:
    """Write the segmentations of the key phases, and the report.

    Parameters
    ----------
    case : Case
        A case of cine or late enhancement that went through all stages.
    context : ResultContext
        Series, number and time of the results, and who made them.

    Returns
    -------
    tuple of ResultObject
        One SEG per key phase and source series that has a mask (PS3.3 A.51), likewise what
        explains a volume by regression, then the TID 1500 report in a Comprehensive 3D SR
        (PS3.3 A.35.13), which is always there.
    """
    from pipeline.results.common import ResultBasis
    from pipeline.results.seg import write_segmentations
    from pipeline.results.source import patient_study, tolerant_headers
    from pipeline.results.sr import write_report

    with tolerant_headers():
        basis = ResultBasis(case, context, patient_study(case.stack)[0])
        written = write_segmentations(basis)
        report = write_report(basis, written)
    return (*(seg.result for seg in written), report)
