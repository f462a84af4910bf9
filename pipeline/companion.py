"""The cine of a study beside its late enhancement: what the report of the latter takes from it.

A late enhancement report is that of the whole study: volumes stand in it as the cine analysis
found them, and the septum that the cine shows numbers the segments of the wall. It is taken from
the findings of the cine, so that it comes from the same run or from one of weeks before.
"""

from collections.abc import Iterable

import numpy as np

from pipeline.aha import Septum
from pipeline.case import Biomarker, ModelUse, QualityFinding
from pipeline.findings import SeriesFindings
from pipeline.lge_case import Companion


def companion_of(study: Iterable[SeriesFindings]) -> Companion | None:
    """Find the cine among the findings of a study of one patient.

    Of several the one counts that measured the most slices; None where none was completed.
    """
    cines = [one for one in study if one.pipeline == "cine" and one.status == "completed"]
    if not cines:
        return None
    cine = max(cines, key=lambda one: (sum(z.relevant for z in one.slices), _report_uid(one)))
    septum = cine.septum
    return Companion(
        series_instance_uids=cine.series_instance_uids,
        report_uid=_report_uid(cine),
        frame_of_reference_uid=septum.frame_of_reference_uid if septum else "",
        septa=tuple(
            Septum(np.array(one.centre_mm), np.array(one.directions))
            for one in (septum.slices if septum else ())
        ),
        biomarkers=tuple(
            Biomarker(one.name, one.value, one.unit, one.withheld) for one in cine.biomarkers
        ),
        quality=tuple(
            QualityFinding(one.check, one.verdict, one.reason, one.value, concerns=one.biomarkers)
            for one in cine.quality
        ),
        models=tuple(
            ModelUse(one.name, one.version, one.weights_sha256, one.licence)
            for one in (cine.provenance.models if cine.provenance else ())
        ),
    )


def _report_uid(findings: SeriesFindings) -> str:
    return next(one.sop_instance_uid for one in findings.objects if one.role == "sr")
