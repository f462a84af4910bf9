"""Number and description of result series, by the role of their objects (decision 11)."""

from collections.abc import Mapping

from pipeline.results.contents import Contents
from pipeline.results.uids import hashed_uid

UNVERIFIED = "automatic, unverified"
_SERIES: Mapping[str, tuple[int, str]] = {
    "seg_ed": (9002, "Cardiac CAD ED segmentation"),
    "seg_es": (9003, "Cardiac CAD ES segmentation"),
    "explanation_ed": (9004, "Cardiac CAD ED explanation"),
    "explanation_es": (9005, "Cardiac CAD ES explanation"),
    "seg_lge": (9007, "Cardiac CAD LGE segmentation"),
    "key_ed": (9021, "ED key images, cardiac CAD"),
    "key_es": (9022, "ES key images, cardiac CAD"),
    "key_seg_ed": (9024, "ED segmentation, cardiac CAD"),
    "key_seg_es": (9025, "ES segmentation, cardiac CAD"),
    "key_explanation_ed": (9026, "ED explanation, cardiac CAD"),
    "key_explanation_es": (9027, "ES explanation, cardiac CAD"),
    "key_sr_ed": (9028, f"ED contours and numbers, cardiac CAD, {UNVERIFIED}"),
    "key_sr_es": (9029, f"ES contours and numbers, cardiac CAD, {UNVERIFIED}"),
    "key_lge": (9031, "LGE key images, cardiac CAD"),
    "key_seg_lge": (9034, "LGE segmentation, cardiac CAD"),
    "key_sr_lge": (9038, f"LGE contours and numbers, cardiac CAD, {UNVERIFIED}"),
}


def series_of(role: str, contents: Contents) -> tuple[int, str]:
    """SeriesNumber and SeriesDescription of a role, whatever suffix tells it from its like."""
    plain = role.partition(".")[0]
    if plain == "sr":
        return contents.report_number, f"Cardiac CAD report, {contents.subject}, {UNVERIFIED}"
    return _SERIES[plain]


def series_suffix(series_instance_uid: str) -> str:
    """What tells the role of objects of this series from that of another's."""
    return f".{int(hashed_uid(series_instance_uid)[5:]) % 10**8:08d}"
