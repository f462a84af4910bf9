"""The institution's own studies: the CSV row by row, and phantoms through the node's chain."""

from dataclasses import replace

import numpy as np
import pytest

from config.schema import Settings
from dicom_node.phantom import write_cine_study
from dicom_node.prepare import InvalidTable, prepare_studies, read_row, read_table
from models.training.cases import CaseError
from models.training.studies import names, path_of, read_study, write_study
from models.training.volumes import prepare_volumes

ROW = {"study": "1.2.3", "lv_edv_ml": "150", "lv_esv_ml": " 60.5 "}


def test_a_row_is_read():
    reported = read_row(ROW | {"rv_edv_ml": "", "part": "test"})
    assert reported.volumes_ml == {"lv_edv_ml": 150, "lv_esv_ml": 60.5}
    assert (reported.study, reported.part) == ("1.2.3", "test")
    assert read_row(ROW).part is None
    assert read_row(ROW | {"rv_edv_ml": "170", "rv_esv_ml": "80"}).volumes_ml["rv_esv_ml"] == 80


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"study": " "}, "'study' is empty"),
        ({"lv_edv_ml": ""}, "'lv_edv_ml' is not a number"),
        ({"lv_esv_ml": "a lot"}, "'lv_esv_ml' is not a number"),
        ({"lv_esv_ml": None}, "'lv_esv_ml' is not a number"),
        ({"lv_edv_ml": "0.15"}, "plausible"),
        ({"lv_edv_ml": "nan"}, "plausible"),
        ({"lv_esv_ml": "151"}, "not below"),
        ({"rv_edv_ml": "60", "rv_esv_ml": "80"}, "'rv_esv_ml' is not below"),
        ({"part": "holdout"}, "'part' is none of"),
    ],
)
def test_a_row_of_no_use_says_why(change, reason):
    with pytest.raises(InvalidTable, match=reason):
        read_row(ROW | change)


def test_a_table_without_a_needed_column_is_refused(tmp_path):
    table = tmp_path / "volumes.csv"
    table.write_text("study,lv_edv_ml\n")
    with pytest.raises(InvalidTable, match="no column lv_esv_ml"):
        read_table(table)
    table.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InvalidTable, match="cannot be read"):
        read_table(table)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Two phantoms and a CSV that names them, a study that is not there, and a folder of both."""
    root = tmp_path_factory.mktemp("studies")
    for seed in (1, 2):
        write_cine_study(root / f"study{seed}", seed, slices=8, phases=4)
    table = root / "volumes.csv"
    table.write_text(
        "study,part,lv_edv_ml,lv_esv_ml\n"
        "study1,validation,150,60\n1.2.3,,150,60\n.,,150,60\nstudy2,train,150\nstudy2,train,140,70\n"
    )
    said = []
    written = prepare_studies([root], table, root / "data", Settings(), said.append)
    return root / "data", written, said


def test_studies_are_written_and_the_others_named_by_line_alone(prepared):
    data, written, said = prepared
    assert written == {"validation": 1, "train": 1}
    assert [line.split(":")[0] for line in said] == [f"line {number}" for number in range(2, 7)]
    assert "no DICOM instance" in said[1]
    assert "more than one study" in said[2]
    assert "'lv_esv_ml' is not a number" in said[3]
    assert len(names(data, "train")) == len(names(data, "validation")) == 1
    assert names(data, "test") == ()


def test_a_study_holds_ed_and_es_of_the_heart(prepared):
    data, _, _ = prepared
    study = read_study(data, names(data, "validation")[0])
    assert study.images.shape[:2] == (2, 8)
    assert study.images.dtype == np.uint8
    assert study.images.max() == 255
    assert study.volumes_ml == {"lv_edv_ml": 150, "lv_esv_ml": 60}
    row, column = (int(value) for value in study.centre_yx)
    ed, es = study.images[:, 4].astype(float)
    assert np.abs(ed - es)[row - 20 : row + 20, column - 20 : column + 20].mean() > 3


def test_prepared_studies_are_there_for_a_method_that_learns_volumes(prepared, tmp_path):
    data, _, _ = prepared
    ed, es = prepare_volumes(data, tmp_path, "train", ("studies",))
    assert (ed.volume_ml, es.volume_ml, ed.phase, es.phase) == (140, 70, "ed", "es")
    assert ed.images.shape == es.images.shape == (8, *ed.images.shape[1:])
    assert (ed.dataset, ed.cavity) == ("studies", None)


def test_a_damaged_array_file_is_said(prepared, tmp_path):
    data, _, _ = prepared
    study = read_study(data, names(data, "train")[0])
    path = path_of(tmp_path, "train", "0")
    write_study(path, replace(study, volumes_ml={"lv_edv_ml": 1.0, "lv_esv_ml": 0.5}))
    assert read_study(tmp_path, "train-0").volumes_ml == {"lv_edv_ml": 1.0, "lv_esv_ml": 0.5}
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(CaseError, match="cannot be read"):
        read_study(tmp_path, "train-0")


def test_a_patient_that_is_never_fitted_is_a_test_patient(tmp_path):
    never = {"PatientID": "SCD0000101"}
    write_cine_study(tmp_path / "one", 1, slices=8, phases=2, header=never)
    table = tmp_path / "volumes.csv"
    table.write_text("study,part,lv_edv_ml,lv_esv_ml\none,train,150,60\n")
    written = prepare_studies([tmp_path], table, tmp_path / "data", Settings(), lambda _: None)
    assert written == {"test": 1}


def test_a_patient_is_never_on_two_sides(tmp_path):
    write_cine_study(tmp_path / "one", 1, slices=8, phases=2)
    table = tmp_path / "volumes.csv"
    table.write_text("study,part,lv_edv_ml,lv_esv_ml\none,train,150,60\none,test,150,60\n")
    said = []
    prepare_studies([tmp_path / "one"], table, tmp_path / "data", Settings(), said.append)
    assert "another study of its patient is in part 'train'" in said[1]


def test_a_real_study_is_prepared_for_measuring_never_for_fitting(real_data, tmp_path):
    folder = real_data / "sunnybrook" / "dicom" / "SCD0000101"
    table = tmp_path / "volumes.csv"
    table.write_text(f"study,part,lv_edv_ml,lv_esv_ml\n{folder},train,191.3,141.3\n")
    assert prepare_studies([folder], table, tmp_path, Settings(), lambda _: None) == {"test": 1}
    study = read_study(tmp_path, names(tmp_path, "test")[0])
    assert study.images.shape == (2, 12, 256, 256)
    assert study.pixel_spacing_mm == pytest.approx((1.367, 1.367), abs=1e-3)
    assert study.slice_spacing_mm == pytest.approx(10)
