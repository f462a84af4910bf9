"""Coded concepts of classes: what was looked at, and what may be found.

Classes have codes of SNOMED CT, as PS3.16 or national ECG profiles use them; the probability of
each has a private one, because under one code a viewer shows all alike.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from pydicom.sr.coding import Code

from pipeline.results.codes import CARDIAC_MR, HEART, PRIVATE_SCHEME


@dataclass(frozen=True, slots=True)
class CodedClass:
    """A class: how a report names it, and its probability."""

    code: Code
    probability: Code


@dataclass(frozen=True, slots=True)
class Subject:
    """What is classified.

    Attributes
    ----------
    title : str
        Of the measurement group.
    procedure : Code
        What was done to the patient (PS3.16 TID 1500, Procedure reported).
    site : Code
    classes : mapping of str to CodedClass
        By the name that the card of a network has for it.
    """

    title: str
    procedure: Code
    site: Code
    classes: Mapping[str, CodedClass]


def _class(code: Code, short: str) -> CodedClass:
    """A class whose probability has the private code `short`, at most 16 characters (PS3.3 8.1)."""
    return CodedClass(code, Code(short, PRIVATE_SCHEME, f"Probability: {code.meaning}"))


CERTAINTY = Code("111012", "DCM", "Certainty of Finding")
SOURCE_OF_MEASUREMENT = Code("121112", "DCM", "Source of Measurement")

SUBJECTS: Mapping[str, Subject] = {
    "ecg": Subject(
        "ECG classification",
        Code("268400002", "SCT", "12-lead electrocardiogram"),
        HEART,
        {
            "normal": _class(Code("164854000", "SCT", "Electrocardiogram normal"), "p_ecg_normal"),
            "abnormal_heartbeat": _class(
                Code("102594003", "SCT", "Electrocardiogram abnormal"), "p_ecg_abnormal"
            ),
            "infarction": _class(
                Code("57054005", "SCT", "Acute myocardial infarction"), "p_ecg_acute_mi"
            ),
            "history_of_infarction": _class(
                Code("399211009", "SCT", "History of myocardial infarction"), "p_ecg_old_mi"
            ),
        },
    ),
    "spect": Subject(
        "Perfusion classification",
        Code("252432008", "SCT", "Radionuclide myocardial perfusion study"),
        HEART,
        {
            "normal": _class(
                Code("301121007", "SCT", "Myocardial perfusion normal"), "p_mpi_normal"
            ),
            "ischemia": _class(Code("414795007", "SCT", "Myocardial ischemia"), "p_mpi_ischemia"),
            "infarction": _class(
                Code("22298006", "SCT", "Myocardial infarction"), "p_mpi_infarction"
            ),
        },
    ),
    "disease_group": Subject(
        "Disease group, research only",
        CARDIAC_MR,
        HEART,
        {
            "normal": _class(Code("17621005", "SCT", "Normal"), "p_cmr_normal"),
            "infarction": _class(
                Code("22298006", "SCT", "Myocardial infarction"), "p_cmr_infarction"
            ),
            "dilated_cardiomyopathy": _class(
                Code("399020009", "SCT", "Dilated cardiomyopathy"), "p_cmr_dcm"
            ),
            "hypertrophic_cardiomyopathy": _class(
                Code("233873004", "SCT", "Hypertrophic cardiomyopathy"), "p_cmr_hcm"
            ),
            "abnormal_right_ventricle": _class(
                Code("rv_abnormal", PRIVATE_SCHEME, "Abnormal right ventricle"), "p_cmr_rv"
            ),
        },
    ),
}
"""By the name of a subject (`Classification.subject`)."""


def coded_class(subject: str, name: str) -> CodedClass:
    """Codes of a class; private ones for a class that is not known here (another network's)."""
    known = SUBJECTS[subject].classes.get(name)
    if known is not None:
        return known
    words = name.replace("_", " ")
    return _class(Code(name[:16], PRIVATE_SCHEME, words[:64].capitalize()), f"p_{name}"[:16])
