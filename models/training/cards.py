"""Texts of the model cards and their writer."""

import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from models import split
from models.registry import Card

LICENCE = "CC BY-NC-SA 4.0"
LIMITS_OF_ALL = (
    "Not a medical device: for research, results unverified. Fitted on few scanners (ACDC: "
    "Siemens 1.5 T and 3 T of one hospital; Sunnybrook: GE 1.5 T); other vendors, field strengths "
    "and sequences than balanced SSFP cine are unproven. Adults; congenital disease, devices with "
    "artefacts and children are unproven."
)
_LIMITS_OF_LGE = (
    "Not a medical device: for research, results unverified. Real late enhancement was seen from "
    "one hospital alone (EMIDEC, 1.5 T and 3 T, phase-sensitive), in a copy without pixel spacing, "
    "stretched case by case; the spacing in use makes the labelled hearts round and on average as "
    "large as those of ACDC, also when measuring. Other vendors, sequences and contrast doses, "
    "magnitude images and other diseases than infarction are unproven. "
)
_LIMITS_OF_SLICES = (
    "Real late enhancement without LV was not at hand: such slices are cine slices beyond the "
    "ventricle, in altered contrast, synthetic hearts, and slices whose LV was covered. Where the "
    "ventricle ends is a matter of definition: the fitted one is the labels of ACDC and EMIDEC."
)
_USE_OF_GROUPS = (
    "Decision support for research, beside the numbers of a cine and shown to a physician who "
    "reads it. Never a diagnosis."
)
_LIMITS_OF_GROUPS = (
    "Not a medical device: for research, results unverified. It knows five groups as one hospital "
    "chose them for ACDC, each as frequent as any other (normal, infarction with a low ejection "
    "fraction, dilated and hypertrophic cardiomyopathy, abnormal right ventricle), and no answer "
    "beside them: borderline and mixed disease, valves, amyloid, athletes and congenital disease "
    "are in no class. One pair of scanners of one maker; other scanners are unproven. Groups of "
    "ACDC were set partly by the same numbers (ejection fraction, volumes, wall thickness)."
)
TEXTS: Mapping[str, Mapping[str, str]] = {
    "cine_unet": {
        "summary": "Labels LV cavity, LV myocardium and RV cavity in single short-axis cine slices "
        "(2-D U-net, heart-centred crop, mean over the image and its mirror image).",
        "intended_use": "Volumes, ejection fractions and LV mass from short-axis cine stacks, "
        "shown to a physician who checks the contours. Papillary muscles count as cavity.",
        "limits": LIMITS_OF_ALL + " The basal and the apical slice are where it errs most. The "
        "RV comes out too large at ES; on Sunnybrook the LV comes out too small, more so at ES, "
        "which raises the ejection fraction.",
    },
    "cine_residual_unet": {
        "summary": "Labels LV cavity, LV myocardium and RV cavity in short-axis cine slices, each "
        "seen between its two neighbours (residual 2-D U-net, heart-centred crop; at ED and ES "
        "the mean over the image and its mirror image).",
        "intended_use": "Volumes, ejection fractions and LV mass from short-axis cine stacks, "
        "shown to a physician who checks the contours. Papillary muscles count as cavity.",
        "limits": LIMITS_OF_ALL + " The basal and the apical slice are where it errs most; the "
        "RV of basal slices that experts leave out at ES is often labelled. Trained 9,000 steps, "
        "then 1,500 with the LV undecided in the basal slices that ACDC leaves out at ES. That "
        "second part was chosen after the study SCD0000101 had lost such a slice, so the "
        "agreement with SCD0000101 is no held-out evidence.",
    },
    "heart_localiser": {
        "summary": "Finds the LV in whole short-axis cine images at 3 mm (2-D U-net), the centre "
        "of the heart, and which slices show the LV.",
        "intended_use": "Placing the crop of the segmenter and choosing the slices that enter "
        "volumes.",
        "limits": LIMITS_OF_ALL + " Slices at the edge of the ventricle are a matter of "
        "definition: the fitted one is the label of ACDC. Basal slices without label are often "
        "taken for LV.",
    },
    "cine_ed_es": {
        "summary": "Finds ED and ES in a whole cine from the medians of its slices: convolutions "
        "in the plane, then over time at several dilations.",
        "intended_use": "ED and ES by a network instead of the curve of the LV area, which is "
        "nearer on the same patients and therefore the default.",
        "limits": LIMITS_OF_ALL + " ED is often one to three frames late or early, since the "
        "heart hardly moves there; most readings stay below the threshold of the central method "
        "and ask for review.",
    },
    "lge_slices": {
        "summary": "Tells short-axis slices that show the LV from slices that do not, each by "
        "itself, in late enhancement and in cine (three convolutions, batch normalisation after "
        "each).",
        "intended_use": "Choosing the slices of a late enhancement stack that enter the scar.",
        "limits": _LIMITS_OF_LGE + _LIMITS_OF_SLICES,
    },
    "cine_slices": {
        "summary": "Tells short-axis cine slices that show the LV from slices that do not, each by "
        "itself (three convolutions, batch normalisation after each).",
        "intended_use": "Choosing the slices of a cine stack that enter volumes.",
        "limits": LIMITS_OF_ALL + " Slices at the edge of the ventricle are a matter of "
        "definition: the fitted one is the label of ACDC.",
    },
    "lge_localiser": {
        "summary": "Finds the LV in whole late enhancement slices at 3 mm (2-D U-net) and the "
        "centre of the heart.",
        "intended_use": "Placing the crop of the scar segmenter.",
        "limits": _LIMITS_OF_LGE + "In EMIDEC the heart lies in the middle of every image, so its "
        "figures there say little; cine in altered contrast stands in for other positions.",
    },
    "lge_scar": {
        "summary": "Labels LV cavity, normal myocardium, infarct and no-reflow in late enhancement "
        "slices, each seen between its neighbours (residual 2-D U-net, heart-centred crop).",
        "intended_use": "Scar mass and percent, beside the n-SD and FWHM measures, and whether an "
        "exam shows an infarct, shown to a physician who checks the contours.",
        "limits": _LIMITS_OF_LGE + "Probability of an infarct: fitted on the cases that the "
        "network learnt from. Diffuse fibrosis and other enhancement than infarct are unproven.",
    },
    "spect_mobilenet": {
        "summary": "Sorts stress and rest perfusion SPECT, laid out as one sheet, into normal, "
        "ischemia and infarction (MobileNet V1).",
        "intended_use": "A second look at a perfusion study with both views, shown to a physician "
        "who reads it. Never to rule out coronary disease.",
        "limits": "Not a medical device: for research, results unverified. NO REAL PATIENT WAS "
        "SEEN, neither in training nor in measuring: all studies were drawn by a program, so the "
        "figures say how well it finds what the program draws. One defect in one territory; "
        "disease of three vessels, mixed defects, bundle branch block, small hearts and motion of "
        "the patient are unproven, and it knows no answer beside its three. Pictures of displays "
        "of review stations were not at hand.",
    },
    "cine_disease_biomarkers": {
        "summary": "Sorts hearts into the five groups of ACDC from what the cine chain measured: "
        "volumes, ejection fractions, mass, their ratios, thickness and thickening of the wall "
        "(logistic regression; height and weight are not asked for).",
        "intended_use": _USE_OF_GROUPS,
        "limits": _LIMITS_OF_GROUPS + " It learned from numbers of networks that never saw the "
        "patient, and knows no image: what the segmentation misses, it misses.",
    },
    "cine_disease_images": {
        "summary": "Sorts hearts into the five groups of ACDC from images around both ventricles "
        "at ED and ES, slice by slice, and takes the mean (ResNet50V2 of half the width).",
        "intended_use": _USE_OF_GROUPS,
        "limits": _LIMITS_OF_GROUPS + " All layers were trained on seventy patients, without "
        "weights from other images.",
    },
    "ecg_dual_branch": {
        "summary": "Sorts pictures of 12-lead ECG sheets into normal, abnormal heartbeat, acute "
        "myocardial infarction and history of infarction (ResNet-18 and a branch that sees the "
        "whole sheet, fused).",
        "intended_use": "A second look at an ECG sheet or at a 12-lead waveform drawn as one, "
        "shown to a physician who reads the ECG. Never to rule out an infarction.",
        "limits": "Not a medical device: for research, results unverified. NO REAL INFARCTION WAS "
        "SEEN, neither in training nor in measuring: both kinds of infarction were drawn by a "
        "program, so their figures say how well it finds what the program draws. Normal and "
        "abnormal heartbeat: some thirty real records of three collections, most abnormal ones "
        "fast, slow or with extra beats. Hypertrophy, ischaemia without infarction and long "
        "QT are in no class, and it knows no answer beside its four. Children and pacemakers are "
        "unproven. Sheets of four columns, three rows and a strip at 25 mm/s and 10 mm/mV; other "
        "layouts, and photographs from real hospitals, are unproven.",
    },
}
OTHER_TEXTS: Mapping[str, str] = {
    "summary": "Trained by the recipe of its name; not shipped.",
    "intended_use": "Comparison with the shipped models.",
    "limits": LIMITS_OF_ALL,
}
DATA_OF_SET: Mapping[str, str] = {
    "acdc": "ACDC, 70 of the patients 001-100 (models/split.json), CC BY-NC-SA 4.0: "
    "O. Bernard, A. Lalande, C. Zotti, F. Cervenansky, et al., Deep Learning Techniques "
    "for Automatic MRI Cardiac Multi-structures Segmentation and Diagnosis: "
    "Is the Problem Solved?, IEEE Transactions on Medical Imaging "
    "37(11), 2514-2525, 2018, doi:10.1109/TMI.2018.2837502",
    "sunnybrook": "Sunnybrook Cardiac Data, 20 patients (models/split.json), CC0: "
    "P. Radau, Y. Lu, K. Connelly, G. Paul, A. Dick, G. Wright, Evaluation framework "
    "for algorithms segmenting short axis cardiac MRI, The MIDAS Journal, 2009",
    "mnms": "M&Ms, training part, under the terms of the challenge (non-commercial): "
    "V. M. Campello, P. Gkontra, C. Izquierdo, et al., Multi-Centre, Multi-Vendor and "
    "Multi-Disease Cardiac Segmentation: The M&Ms Challenge, IEEE Transactions on Medical "
    "Imaging 40(12), 3543-3554, 2021, doi:10.1109/TMI.2021.3090082",
    "emidec": "EMIDEC, 56 of 80 cases (models/split.json), CC BY-NC-SA 4.0: "
    "A. Lalande, Z. Chen, T. Decourselle, A. Qayyum, et al., Emidec: A Database Usable for the "
    "Automatic Evaluation of Myocardial Infarction from Delayed-Enhancement Cardiac MRI, "
    "Data 5(4), 89, 2020, doi:10.3390/data5040089",
    "studies": "Studies of the institution that trained it, with the volumes it reported",
    "synthetic": "Synthetic hearts of this product (models.synthetic), Apache-2.0",
    "synthetic_lge": "Synthetic late enhancement of this product (models.synthetic), Apache-2.0",
    "ecg": "PhysioNet/CinC Challenge 2021, records of PTB-XL, Georgia and Chapman-Ningbo (train "
    "part by models.split.part_of_name), CC BY 4.0: M. A. Reyna, N. Sadr, E. A. Perez Alday, et "
    "al., Will Two Do? Varying Dimensions in Electrocardiography: The PhysioNet/Computing in "
    "Cardiology Challenge 2021, Computing in Cardiology 48, 1-4, 2021, doi:10.22489/CinC.2021.236",
    "ecg_images": "ECG images of cardiac patients, train part by models.split.part_of_name, CC "
    "BY 4.0: A. H. Khan, M. Hussain, M. K. Malik, ECG Images dataset of Cardiac and COVID-19 "
    "Patients, Data in Brief 34, 106762, 2021, doi:10.1016/j.dib.2021.106762",
    "perfusion_images": "Pictures of perfusion displays of the institution that trained it, train "
    "part by models.split.part_of_name",
    "synthetic_spect": "Synthetic perfusion SPECT of this product (models.synthetic.spect), "
    "Apache-2.0",
    "synthetic_ecg": "Synthetic ECG of this product (models.synthetic.ecg), Apache-2.0",
    "synthetic_ecg_simulator": "Synthetic ECG upon sinus rhythm simulated by NeuroKit2, the "
    "simulator under the MIT licence: D. Makowski, T. Pham, Z. J. Lau, et al., NeuroKit2: A Python "
    "toolbox for neurophysiological signal processing, Behavior Research Methods 53, 1689-1696, "
    "2021, doi:10.3758/s13428-020-01516-y",
    "synthetic_ecg_infarct": "Synthetic infarcts drawn into records of the PhysioNet/CinC "
    "Challenge 2021, train part, CC BY 4.0, doi:10.22489/CinC.2021.236",
}

_ATTRIBUTION_ONLY = frozenset(
    {
        "ecg",
        "ecg_images",
        "synthetic_ecg",
        "synthetic_ecg_simulator",
        "synthetic_ecg_infarct",
        "synthetic_spect",
    }
)
_REFITTED: Mapping[str, tuple[str, str]] = {
    "acdc": ("70 of the patients 001-100 (models/split.json)", "all patients 001-100"),
    "sunnybrook": ("20 patients (models/split.json)", "all patients but those never fitted"),
    "emidec": ("56 of 80 cases (models/split.json)", "all 80 cases"),
}
REFIT_NOTE = (
    " Refitted on every patient after the figures of this card were taken with the test patients "
    "held out; they are not figures of these very weights."
)


def data_of_set(dataset: str, *, refit: bool = False) -> str:
    """What the card says of a set that the weights were fitted on."""
    text = DATA_OF_SET[dataset]
    if refit and dataset in _REFITTED:
        return text.replace(*_REFITTED[dataset])
    return text


def licence_of(sets: Collection[str]) -> str:
    """Licence of weights that were fitted on some sets."""
    return "CC BY 4.0" if sets and _ATTRIBUTION_ONLY.issuperset(sets) else LICENCE


def fitted_sets(card: Card) -> frozenset[str]:
    """Names of the sets that the weights of a card were fitted on, read from its `data`."""
    return frozenset(name for name in DATA_OF_SET if _entry(card, name) is not None)


def fitted_on_lge(card: Card) -> bool:
    """Whether real late enhancement was among what the weights of a card were fitted on."""
    return "emidec" in fitted_sets(card)


def is_held_out(card: Card, dataset: str) -> bool:
    """Whether the test patients of a set took no part in fitting the weights of a card.

    An entry of its `data` that names the split file says so; one that does not (weights refitted
    on every patient) denies it. Sets that the split file does not cover bring their own split.
    """
    entry = _entry(card, dataset)
    return entry is None or dataset not in split.sets() or "models/split.json" in entry


def _entry(card: Card, dataset: str) -> str | None:
    """What a card says of a set; the words before the first comma name it."""
    name = DATA_OF_SET[dataset].split(",")[0]
    return next((entry for entry in card.data if entry.split(",")[0] == name), None)


def write_card(card: Card, folder: Path) -> Path:
    """Write a card as TOML; `models.registry.card` reads it back."""
    tables = ("parameters", "input", "calibration", "metrics")
    values = asdict(card)
    lines = [
        f"{entry.name} = {_value(values[entry.name])}"
        for entry in fields(card)
        if entry.name not in (*tables, "name")
    ]
    for table in tables:
        lines += _table(table, values[table])
    path = folder / f"{card.name}.toml"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def _table(name: str, values: Mapping[str, Any]) -> list[str]:
    """Lines of a TOML table and of the tables in it."""
    lines = ["", f"[{name}]"]
    lines += [f"{key} = {_value(value)}" for key, value in values.items() if not _nested(value)]
    for key, value in values.items():
        if _nested(value):
            lines += _table(f"{name}.{key}", value)
    return lines


def _nested(value: object) -> bool:
    return isinstance(value, Mapping)


def _value(value: object) -> str:
    """A TOML value; a JSON string, number, boolean or list of them is one."""
    if isinstance(value, list | tuple) and value and isinstance(value[0], str):
        return "[\n" + "".join(f"  {json.dumps(entry)},\n" for entry in value) + "]"
    return json.dumps(value)
