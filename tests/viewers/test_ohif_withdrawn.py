"""A newer result without end systole, in OHIF: masks and numbers of the earlier one are gone.

It shows the newest object of a series, and knows nothing else of what replaces what (decision 10).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from config.schema import CINE_ROUTE, CineSettings
from dicom_node.phantom import LABELS_NAME
from pipeline.assemble import assemble
from pipeline.case import CineCase
from pipeline.headers import read_header
from pipeline.results import ResultObject, write_results
from pipeline.routing import propose
from tests.acceptance.node import storescu
from tests.acceptance.studies import TINY, small_study
from tests.integration.peers import Orthanc
from tests.unit.pipeline.cine_cases import oracle_pipeline, shown
from tests.unit.pipeline.result_cases import CONTEXT, saved, superseding
from tests.viewers.browser import Viewer, eventually

WRITTEN = ("full", "display")


@dataclass(frozen=True)
class Pair:
    """A study of which the newer result has nothing at end systole."""

    uid: str
    first: Sequence[ResultObject]
    second: Sequence[ResultObject]


@pytest.fixture(scope="module")
def pair(archive: Orthanc, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """In the archive; what the masks should be is known, no network is asked."""
    folder = tmp_path_factory.mktemp("study")
    study = small_study(folder, seed=6, **TINY)
    case = measured(study.files, folder)
    assert case.segmentation is not None
    assert case.phases is not None
    labels = case.segmentation.labels.copy()
    labels[case.phases.es] = 0
    without = replace(case, segmentation=replace(case.segmentation, labels=labels))
    first = write_results(case, CONTEXT, WRITTEN)
    second = write_results(without, superseding(first), WRITTEN)
    storescu(study.files, archive.address)
    for items in (first, second):
        results = tmp_path_factory.mktemp("results")
        storescu([saved(one, results) for one in items], archive.address)
    return Pair(study.uid, first, second)


def measured(files: Sequence[Path], folder: Path) -> CineCase:
    """A case with the true masks, on the images as they are."""
    known = {read_header(path).sop_instance_uid: path for path in files}
    (proposal,) = propose([read_header(path) for path in files], (CINE_ROUTE,))
    stack = assemble(proposal, known, CineSettings())
    labels = np.load(folder / LABELS_NAME)["labels"]
    case = oracle_pipeline().run(replace(stack, frames=shown(labels)))
    return replace(case, stack=stack)


@pytest.fixture(scope="module")
def viewer(pair: Pair, tab: Viewer) -> Viewer:
    results = (*pair.first, *pair.second)
    tab.errors.clear()  # of what other tests did with it
    tab.open_study(pair.uid, n_series=1 + len({one.series_instance_uid for one in results}))
    return tab


@pytest.mark.parametrize("words", ["ES segmentation, cardiac CAD", "Cardiac CAD ES segmentation"])
def test_no_mask_is_shown(pair: Pair, viewer: Viewer, words: str) -> None:
    viewer.show("SEG", words)
    loaded = eventually(lambda: viewer.labelmaps(words))
    assert {label for masks in loaded.values() for label in masks} == {"Withdrawn"}
    assert not any(mask.any() for masks in loaded.values() for mask in masks.values())


def test_no_number_is_shown(pair: Pair, viewer: Viewer) -> None:
    """OHIF shows nothing of a report without contours."""
    words = "ES contours and numbers, cardiac CAD, automatic, unverified"
    (newest,) = (one for one in pair.second if one.role == "key_sr_es")
    assert [*viewer.listed("SR", words)] == [newest.sop_instance_uid]
    viewer.show("SR", words)
    eventually(lambda: viewer.page.locator(".cornerstone-canvas").count() == 0)
    assert viewer.texts() == []


def test_what_stands_is_shown(pair: Pair, viewer: Viewer) -> None:
    images = {one.sop_instance_uid for one in pair.second if one.role.startswith("key_ed_")}
    viewer.show("SR", "ED contours and numbers, cardiac CAD, automatic, unverified")
    eventually(lambda: viewer.texts() and viewer.shown().sop_instance_uid in images)


def test_no_script_failed(viewer: Viewer) -> None:
    assert viewer.errors == []
