"""From DICOM files through routing and assembly to biomarkers, given the true masks.

What is left to go wrong is geometry: spacing, gaps, order, orientation, and the facts and the text
of the patient.
"""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from config.schema import CINE_ROUTE, CineSettings
from dicom_node.phantom import write_cine_study
from pipeline.assemble import assemble
from pipeline.case import CineCase
from pipeline.headers import read_header
from pipeline.results import write_results
from pipeline.routing import propose
from tests.unit.pipeline.cine_cases import oracle_pipeline, shown
from tests.unit.pipeline.result_cases import CONTEXT, read

FORMS = {
    "classic": {},
    "enhanced": {"enhanced": True},
    "one series per slice": {"series_per_slice": True},
    "non-square pixels": {"pixel_spacing_mm": (1.3, 2.0), "rows": 192, "columns": 128},
    "slice gaps": {"slice_spacing_mm": 10.0, "slice_thickness_mm": 6.0},
    "apex first": {"apex_first": True},
    "mirrored": {"mirrored": True},
    "ED last": {"ed_phase": 7, "rr_jitter": 0.05},
    "axial": {"orientation": (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)},
    "two phases": {"phases": 2},
}
SIZE = {"phases": 8, "rows": 128, "columns": 128, "pixel_spacing_mm": (2.0, 2.0)}


def measured_study(folder: Path) -> CineCase:
    """Measure the synthetic study of a folder, given its true masks."""
    files = {read_header(path).sop_instance_uid: path for path in folder.glob("*.dcm")}
    (proposal,) = propose([read_header(path) for path in files.values()], (CINE_ROUTE,))
    stack = assemble(proposal, files, CineSettings())
    labels = np.load(folder / "truth_labels.npz")["labels"]
    return oracle_pipeline().run(replace(stack, frames=shown(labels)))


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_given_its_true_masks_a_synthetic_study_is_measured_to_3_percent(tmp_path, form):
    truth = json.loads(write_cine_study(tmp_path, 6, **SIZE | form).read_text())
    case = measured_study(tmp_path)

    assert (case.phases.ed, case.phases.es) == (truth["ed"], truth["es"])
    measured = {one.name: one.value for one in case.biomarkers}
    for name, expected in truth["analytic"].items():
        assert measured[name] == pytest.approx(expected, rel=0.03), name
    for name in ("heart_rate", "bsa", "cardiac_output"):
        assert measured[name] == pytest.approx(truth["biomarkers"][name], rel=0.03), name


# As it stands in the files: escape sequences of ISO 2022, or the bytes of a code page.
TEXT = {
    "Latin-1": ("ISO_IR 100", "Müller^Zoë", "Herz-MRT, Übersicht", b"M\xfcller"),
    "Latin-9": ("ISO_IR 203", "Œuvrard^Zoë", "cœur, 10 €", b"\xbcuvrard"),
    "Greek": ("ISO_IR 126", "Διονυσιος^Νίκος", "καρδιά", b"\xc4\xe9\xef"),
    "Cyrillic": ("ISO_IR 144", "Иванов^Пётр", "снимок сердца", b"\xb8\xd2\xd0"),
    "Japanese": (
        ["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう", "心臓MRI", b"\x1b$B;3ED"
    ),
    "Korean": (["", "ISO 2022 IR 149"], "Hong^Gildong=洪^吉洞=홍^길동", "심장", b"\x1b$)C"),
    "UTF-8": ("ISO_IR 192", "Nguyễn^Šárka", "tim mạch", "Nguyễn".encode()),
}  # fmt: skip


@pytest.mark.parametrize(("declared", "name", "words", "raw"), TEXT.values(), ids=TEXT)
def test_text_in_any_character_set_comes_back(tmp_path, declared, name, words, raw):
    header = {"PatientName": name, "StudyDescription": words, "SpecificCharacterSet": declared}
    write_cine_study(tmp_path, 6, **SIZE | {"phases": 2}, header=header)
    assert all(raw in path.read_bytes() for path in tmp_path.glob("*.dcm"))
    for result in write_results(measured_study(tmp_path), CONTEXT):
        back = read(result)
        assert (str(back.PatientName), back.StudyDescription) == (name, words), result.role
