"""`dicom-node process` on a study of cine and late enhancement: one report holds both.

The cine goes through the shipped networks; those of late enhancement are replaced by true masks.
"""

import numpy as np
import pytest
from pydicom import dcmread

from config.schema import Settings
from dicom_node.phantom import write_cine_study
from dicom_node.phantom_lge import study_of, write_lge_study
from dicom_node.process import process_files
from tests.integration.test_lge_true_masks import true_classes
from tests.unit.pipeline.lge_cases import lge_pipeline


def test_the_late_enhancement_report_takes_in_the_cine(tmp_path, monkeypatch):
    cine, lge = tmp_path / "b", tmp_path / "a"  # late enhancement is read first
    write_cine_study(cine, 6, phases=8)
    seed, same = study_of(cine)
    write_lge_study(lge, seed, header=same)
    chain = lge_pipeline(true_classes(lge))
    monkeypatch.setattr("pipeline.lge.build_lge_pipeline", lambda settings, worker: chain)
    found = process_files([tmp_path], tmp_path / "out", Settings())

    by_pipeline = {one.pipeline: one for one in found.series}
    assert {name: one.status for name, one in by_pipeline.items()} == {
        "cine": "completed",
        "lge": "completed",
    }
    late, volumes = by_pipeline["lge"], by_pipeline["cine"]
    report = {one.role: one for one in late.objects}["sr"]
    assert (
        late.joined_report_uid == {one.role: one for one in volumes.objects}["sr"].sop_instance_uid
    )
    assert late.joined_series_instance_uids == volumes.series_instance_uids
    stated = {one.name: one.value for one in volumes.biomarkers}
    numbers = {
        item.ConceptNameCodeSequence[0].CodeValue: item.MeasuredValueSequence[0].NumericValue
        for item in _items(dcmread(tmp_path / "out" / str(report.path)))
        if item.get("ValueType") == "NUM"
    }
    assert numbers["8821-1"] == pytest.approx(stated["lv_edv"], abs=0.06)
    assert "scar_mass_netw" in numbers
    shares = [one.value for one in late.biomarkers if one.name.startswith("transmurality")]
    assert np.sum([share is not None for share in shares]) == 16


def _items(dataset):
    for item in dataset.get("ContentSequence", ()):
        yield item
        yield from _items(item)
