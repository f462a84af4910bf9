"""Coded concepts of the results: structures, key phases, quantities and units.

Codes are those of DICOM PS3.16 (DCM), SNOMED CT (SCT), LOINC (LN) and UCUM. None of them has the
indexed volumes and mass of MR, or quantities of scar: these have a private code, the name of the
biomarker in 16 characters (PS3.3 8.1), because under the code of a parent quantity a viewer shows
both alike.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from pydicom.sr.coding import Code

from pipeline.case import (
    LV_CAVITY,
    LV_MYOCARDIUM,
    NO_REFLOW,
    RV_CAVITY,
    SCAR,
    SEGMENT_LABELS,
)

ANATOMICAL_STRUCTURE = Code("91723000", "SCT", "Anatomical Structure")
ALTERED_STRUCTURE = Code("49755003", "SCT", "Morphologically Altered Structure")
HEART = Code("80891009", "SCT", "Heart")
LEFT_VENTRICLE = Code("87878005", "SCT", "Left ventricle")
LV_MYOCARDIUM_SITE = Code("49848007", "SCT", "Left Ventricle Myocardium")
RIGHT_VENTRICLE = Code("53085002", "SCT", "Right ventricle")

AI_FAMILY = Code("123110", "DCM", "Artificial Intelligence")
ACQUISITION_EQUIPMENT = Code("109101", "DCM", "Acquisition Equipment")
PROCESSING_EQUIPMENT = Code("109102", "DCM", "Processing Equipment")
REPORT_TITLE = Code("126000", "DCM", "Imaging Measurement Report")
CARDIAC_MR = Code("241620005", "SCT", "Magnetic resonance imaging of heart")
ENGLISH = Code("en", "RFC5646", "English")
QUALITATIVE_EVALUATIONS = Code("C0034375", "UMLS", "Qualitative Evaluations")
FINDING = Code("121071", "DCM", "Finding")
COMMENT = Code("121106", "DCM", "Comment")
INDEX = Code("121425", "DCM", "Index")
BODY_SURFACE_AREA = Code("8277-6", "LN", "BSA")
MOSTELLER = Code("122244", "DCM", "BSA = (HT*WT/36)^0.5")
NORMAL = Code("17621005", "SCT", "Normal")
ABNORMALLY_LOW = Code("371880002", "SCT", "Abnormally Low")
ABNORMALLY_HIGH = Code("371879000", "SCT", "Abnormally High")
LOWER_LIMIT = Code("385524004", "SCT", "Normal Range Lower Limit")
UPPER_LIMIT = Code("371933006", "SCT", "Normal Range Upper Limit")
SUBJECT_SEX = Code("121032", "DCM", "Subject Sex")
SEXES: Mapping[str, Code] = {"M": Code("M", "DCM", "Male"), "F": Code("F", "DCM", "Female")}
CARDIAC_CYCLE_PHASE = Code("246092007", "SCT", "Cardiac cycle phase")
PAPILLARY_MUSCLES = Code("122670", "DCM", "Papillary Muscle Included/Excluded")
PAPILLARY_INCLUDED = Code("122621", "DCM", "Papillary Muscle Included")


@dataclass(frozen=True, slots=True)
class Structure:
    """A segmented structure: its label, code, display colour (8-bit sRGB), category and site.

    The site is None where the structure itself is one.
    """

    label: str
    code: Code
    colour: tuple[int, int, int]
    category: Code = ANATOMICAL_STRUCTURE
    site: Code | None = None


PRIVATE_SCHEME = "99DICOMNODE"
PRIVATE_SCHEME_NAME = "DICOM node cardiac CAD: names of biomarkers"

LV_EXPLANATION = 4
"""Beside the label values of a segmentation: where regression saw the volume that it states."""

STRUCTURES: Mapping[int, Structure] = {
    LV_CAVITY: Structure(SEGMENT_LABELS[LV_CAVITY], LEFT_VENTRICLE, (222, 60, 60)),
    LV_MYOCARDIUM: Structure(SEGMENT_LABELS[LV_MYOCARDIUM], LV_MYOCARDIUM_SITE, (70, 200, 90)),
    RV_CAVITY: Structure(SEGMENT_LABELS[RV_CAVITY], RIGHT_VENTRICLE, (70, 120, 235)),
    LV_EXPLANATION: Structure("LV cavity, explanation", LEFT_VENTRICLE, (240, 190, 60)),
    SCAR: Structure(
        SEGMENT_LABELS[SCAR],
        Code("12402003", "SCT", "Scar tissue"),
        (250, 220, 60),
        ALTERED_STRUCTURE,
        LV_MYOCARDIUM_SITE,
    ),
    NO_REFLOW: Structure(
        SEGMENT_LABELS[NO_REFLOW],
        Code("no_reflow", PRIVATE_SCHEME, "No-reflow area"),
        (150, 80, 200),
        ALTERED_STRUCTURE,
        LV_MYOCARDIUM_SITE,
    ),
}

NOTHING_DRAWN = Structure(
    "Withdrawn",
    Code("125040", "DCM", "Background"),
    (128, 128, 128),
    Code("309825002", "SCT", "Spatial and Relational Concept"),
)
"""The only segment of a segmentation without a mask, which ends a series (decision 10)."""


@dataclass(frozen=True, slots=True)
class KeyPhase:
    """A phase that has its own segmentation; `code` is None where no cardiac phase is meant."""

    name: str
    short: str
    words: str
    code: Code | None


END_DIASTOLE = KeyPhase("ed", "ED", "end diastole", Code("416190007", "SCT", "End diastole"))
END_SYSTOLE = KeyPhase("es", "ES", "end systole", Code("416430001", "SCT", "End Systole"))
LATE_ENHANCEMENT = KeyPhase("lge", "LGE", "late enhancement", None)


@dataclass(frozen=True, slots=True)
class Quantity:
    """How a report states a biomarker.

    Attributes
    ----------
    code : Code
        Concept name.
    indexed : bool
        State the index of a private code, body surface area, as a modifier (PS3.16 CID 3455).
    method : Code or None
        Coded method of computation.
    site : Code or None
        Where in the heart, if it is not where its group is.
    family : Code or None
        What it is called together with others that are withheld for the same reason.
    """

    code: Code
    indexed: bool = False
    method: Code | None = None
    site: Code | None = None
    family: Code | None = None


def _index(name: str, meaning: str) -> Quantity:
    return Quantity(Code(name, PRIVATE_SCHEME, meaning), indexed=True)


SCAR_METHODS: Mapping[str, Code] = {
    "network": Code("network", PRIVATE_SCHEME, "Segmentation by network"),
    "2sd": Code("2sd", PRIVATE_SCHEME, "2 SD above remote myocardium"),
    "5sd": Code("5sd", PRIVATE_SCHEME, "5 SD above remote myocardium"),
    "fwhm": Code("fwhm", PRIVATE_SCHEME, "Full width at half maximum"),
}
_SCAR_NAMES = {"network": "Network", "2sd": "2 SD", "5sd": "5 SD", "fwhm": "FWHM"}
# PS3.16 CID 3717, numbered as by Cerqueira and others (Circulation 2002;105:539).
AHA_SEGMENTS: Mapping[int, Code] = {
    number: Code(value, "SCT", meaning)
    for number, (value, meaning) in enumerate(
        (
            ("264850008", "left ventricle basal anterior segment"),
            ("396482007", "left ventricle basal anteroseptal segment"),
            ("396646008", "left ventricle basal inferoseptal segment"),
            ("264846001", "left ventricle basal inferior segment"),
            ("396652009", "left ventricle basal inferolateral segment"),
            ("396654005", "left ventricle basal anterolateral segment"),
            ("264848000", "left ventricle mid anterior segment"),
            ("396647004", "left ventricle mid anteroseptal segment"),
            ("396649001", "left ventricle mid inferoseptal segment"),
            ("264847005", "left ventricle mid inferior segment"),
            ("396655006", "left ventricle mid inferolateral segment"),
            ("396656007", "left ventricle mid anterolateral segment"),
            ("264844003", "left ventricle apical anterior segment"),
            ("264845002", "left ventricle apical septal segment"),
            ("264849008", "left ventricle apical inferior segment"),
            ("264853005", "left ventricle apical lateral segment"),
            ("128564006", "Apex of left ventricle"),
        ),
        start=1,
    )
}
_THICKENING = Code("wall_thickening", PRIVATE_SCHEME, "Wall Thickening per AHA segment")
_TRANSMURALITY = Code("transmurality", PRIVATE_SCHEME, "Scar transmurality per AHA segment")


def _scar(quantity: str, words: str) -> Mapping[str, Quantity]:
    """A quantity of scar by each method."""
    return {
        f"scar_{quantity}_{method}": Quantity(
            Code(f"scar_{quantity[:4]}_{method[:4]}", PRIVATE_SCHEME, f"{words} ({short})"),
            method=SCAR_METHODS[method],
        )
        for method, short in _SCAR_NAMES.items()
    }


def _wall() -> Mapping[str, Quantity]:
    """Thickness has a standard code; the phase is that of its group, the segment is the site."""
    thickness = Code("122445", "DCM", "Wall Thickness")
    return {
        **{
            f"{phase}_wall_thickness_{number}": Quantity(thickness, site=site)
            for phase in ("ed", "es")
            for number, site in AHA_SEGMENTS.items()
        },
        **{
            f"wall_thickening_{number}": Quantity(
                Code(f"wall_thick_{number}", PRIVATE_SCHEME, f"Wall Thickening, segment {number}"),
                site=site,
                family=_THICKENING,
            )
            for number, site in AHA_SEGMENTS.items()
        },
    }


def _transmurality() -> Mapping[str, Quantity]:
    return {
        (name := f"transmurality_{number}"): Quantity(
            Code(name, PRIVATE_SCHEME, f"Scar transmurality, segment {number}"),
            site=site,
            family=_TRANSMURALITY,
        )
        for number, site in AHA_SEGMENTS.items()
    }


QUANTITIES: Mapping[str, Quantity] = {
    "lv_edv": Quantity(Code("8821-1", "LN", "Left Ventricular ED Volume")),
    "lv_esv": Quantity(Code("8823-7", "LN", "Left Ventricular ES Volume")),
    "lv_sv": Quantity(Code("90096001", "SCT", "Stroke Volume")),
    "lv_ef": Quantity(Code("8811-2", "LN", "Left ventricular ejection fraction by MR")),
    "lv_mass": Quantity(Code("18087-7", "LN", "Left Ventricle Mass")),
    "rv_edv": Quantity(Code("8822-9", "LN", "Right Ventricular ED Volume")),
    "rv_esv": Quantity(Code("8824-5", "LN", "Right Ventricular ES Volume")),
    "rv_sv": Quantity(Code("429483009", "SCT", "RV Stroke Volume")),
    "rv_ef": Quantity(Code("8818-7", "LN", "Right ventricular ejection fraction by MR")),
    "cardiac_output": Quantity(Code("82799009", "SCT", "Cardiac Output")),
    "lv_peak_ejection_rate": Quantity(Code("122616", "DCM", "Peak Ejection Rate")),
    "lv_peak_filling_rate": Quantity(Code("122618", "DCM", "Peak Filling Rate")),
    "heart_rate": Quantity(Code("8867-4", "LN", "Heart rate")),
    # PS3.16 TID 3602
    "age": Quantity(Code("121033", "DCM", "Subject Age")),
    "height": Quantity(Code("8302-2", "LN", "Patient Height")),
    "weight": Quantity(Code("29463-7", "LN", "Patient Weight")),
    "bsa": Quantity(BODY_SURFACE_AREA, method=MOSTELLER),
    "lv_edv_index": _index("lv_edv_index", "Left Ventricular ED Volume Index"),
    "lv_esv_index": _index("lv_esv_index", "Left Ventricular ES Volume Index"),
    "lv_sv_index": Quantity(Code("277381004", "SCT", "Stroke Index")),
    "lv_mass_index": _index("lv_mass_index", "Left Ventricle Mass Index"),
    "rv_edv_index": _index("rv_edv_index", "Right Ventricular ED Volume Index"),
    "rv_esv_index": _index("rv_esv_index", "Right Ventricular ES Volume Index"),
    "rv_sv_index": Quantity(Code("429619008", "SCT", "RV Stroke Index")),
    "cardiac_output_index": Quantity(Code("54993008", "SCT", "Cardiac Index")),
    "lge_lv_mass": Quantity(Code("lge_lv_mass", PRIVATE_SCHEME, "Left Ventricle Mass (LGE)")),
    **_scar("mass", "Scar Mass"),
    **_scar("percent", "Scar Fraction of LV Mass"),
    "no_reflow_mass": Quantity(
        Code("no_reflow_mass", PRIVATE_SCHEME, "No-reflow Mass"), method=SCAR_METHODS["network"]
    ),
    "infarct_probability": Quantity(
        Code("infarct_prob", PRIVATE_SCHEME, "Probability of Myocardial Infarction")
    ),
    **_transmurality(),
    **_wall(),
}

UNITS: Mapping[str, Code] = {
    unit: Code(unit, "UCUM", meaning)
    for unit, meaning in {
        "ml": "milliliter",
        "%": "percent",
        "g": "gram",
        "l/min": "liter per minute",
        "/min": "per minute",
        "m2": "square meter",
        "a": "year",
        "m": "meter",
        "kg": "kilogram",
        "ml/m2": "milliliter per square meter",
        "mm": "millimeter",
        "ml/s": "milliliter per second",
        "g/m2": "gram per square meter",
        "l/min/m2": "liter per minute per square meter",
        "1": "no units",
    }.items()
}

_TWO_DECIMALS = frozenset({"l/min", "m2", "l/min/m2", "1", "m"})
_WHOLE = frozenset({"a"})


def in_report(value: float, unit: str) -> str:
    """A value as text, as precisely as its unit is meant to be read: with 0, 1 or 2 decimals."""
    return with_decimals(value, 2 if unit in _TWO_DECIMALS else 0 if unit in _WHOLE else 1)


def with_decimals(value: float, digits: int) -> str:
    """A value as text with so many decimals."""
    return f"{round(value, digits) + 0.0:.{digits}f}"  # + 0.0: never "-0.0"
