"""What `dicom-node doctor` says of the configuration."""

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from pynetdicom import AE, evt
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind

from config.schema import Settings, SiteSettings
from dicom_node.archive import Archive
from dicom_node.demo_archive import free_port
from dicom_node.doctor import RESULT_CLASSES, examine
from dicom_node.serve import serve
from models import registry
from models.training.cards import write_card
from pipeline.results import write_results
from pipeline.results.profiles import is_wanted
from tests.unit.pipeline.picture_cases import write_network
from tests.unit.pipeline.result_cases import CONTEXT, make_case


@pytest.mark.parametrize(
    ("site", "named"),
    [
        ({}, ("site.institution", "site.station_name")),
        ({"institution": "Test Hospital"}, ("site.station_name",)),
        ({"station_name": "CAD1"}, ("site.institution",)),
        ({"institution": "Test Hospital", "station_name": "CAD1"}, ()),
    ],
)
def test_says_which_key_leaves_the_results_unnamed(site, named, tmp_path, capsys):
    settings = Settings(site=SiteSettings(**site), storage={"folder": tmp_path / "data"})
    examine(settings)
    lines = [line for line in capsys.readouterr().out.splitlines() if "results" in line]
    said = " ".join(line for line in lines if "site" in line)
    assert [key for key in ("site.institution", "site.station_name") if key in said] == list(named)
    assert ("unnamed" in said) == ("site.station_name" in named)


def test_names_the_licence_of_a_network_for_research_and_that_such_are_allowed(tmp_path, capsys):
    write_network(tmp_path / "weights", "ecg_dual_branch", says=0)
    settings = Settings(
        allow_research_models=True,
        pipelines={"ecg": {"enabled": True}},
        worker={"weights_folder": tmp_path / "weights"},
        storage={"folder": tmp_path / "data"},
    )
    examine(settings)
    said = capsys.readouterr().out
    assert "research models: allowed" in said
    (line,) = [one for one in said.splitlines() if "network ecg_dual_branch" in one]
    assert "for ecg_classification, version untrained" in line
    assert "licence Apache-2.0" in line


def test_says_why_an_archive_cannot_be_reached(tmp_path, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    archive = {"name": "pacs", "ae_title": "PACS", "host": "127.0.0.1", "port": port}
    settings = Settings(destinations=[archive], storage={"folder": tmp_path / "data"})
    assert not examine(settings)
    assert "no connection (Connection refused)" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("status", "mark", "says"),
    [
        (0x0000, "ok", "answers C-FIND"),
        (0xA700, "FAIL", "C-FIND failed with 0xA700"),
        (None, "FAIL", "no connection (Connection refused)"),
    ],
)
def test_asks_each_peer_that_is_to_be_queried(status, mark, says, tmp_path, capsys):
    port = free_port()
    entity = AE("PACS")
    entity.add_supported_context(StudyRootQueryRetrieveInformationModelFind)
    if status is not None:
        entity.start_server(
            ("127.0.0.1", port),
            block=False,
            evt_handlers=[(evt.EVT_C_FIND, lambda _: [(status, None)])],
        )
    peers = [
        {"ae_title": "PACS", "query_host": "127.0.0.1", "query_port": port},
        {"ae_title": "SCANNER"},
    ]
    try:
        examine(Settings(peers=peers, storage={"folder": tmp_path / "data"}))
    finally:
        entity.shutdown()
    (line,) = [one for one in capsys.readouterr().out.splitlines() if "query of" in one]
    assert line.startswith(f"{mark} ")
    assert "query of PACS: PACS@127.0.0.1:" in line
    assert says in line


def test_says_which_networks_are_for_non_commercial_use_only(tmp_path, capsys):
    own = registry.card("cine_unet")
    shutil.copy(registry.WEIGHTS_FOLDER / own.weights_file, tmp_path / "own.npz")
    write_card(replace(own, name="own", weights_file="own.npz", licence="Apache-2.0"), tmp_path)
    settings = Settings(
        pipelines={"cine": {"segmenter": "own"}, "lge": {"enabled": False}},
        storage={"folder": tmp_path / "data"},
        worker={"weights_folder": tmp_path},
    )
    examine(settings)
    (line,) = [one for one in capsys.readouterr().out.splitlines() if "licences" in one]
    assert re.fullmatch(r"note +licences: for non-commercial use only: heart_localiser", line)


@pytest.mark.parametrize("profiles", [("full",), ("display",), ("legacy",)])
def test_asks_each_archive_for_the_objects_of_its_profiles(profiles, tmp_path, capsys):
    written = {item.sop_class_uid for item in write_results(make_case(), CONTEXT, profiles)
               if is_wanted(item.role, profiles)}  # fmt: skip
    port = free_port()
    archive = Archive("PACS", port, tmp_path / "archive")
    archive.start()
    try:
        address = {"host": "127.0.0.1", "port": port}
        destination = {"name": "pacs", "ae_title": "PACS", "profiles": profiles, **address}
        examine(Settings(destinations=[destination], storage={"folder": tmp_path / "data"}))
    finally:
        archive.stop()
    said = " ".join(capsys.readouterr().out.split())
    named = said.partition("accepts ")[2]
    assert {uid for uid, words in RESULT_CLASSES.items() if words in named} == written


REGRESSION = '[pipelines.cine]\nvolume_method = "regression"\nregressor = "nowhere"\n'


@pytest.mark.parametrize("command", ["doctor", "serve"])
def test_a_network_without_weights_is_named_before_anything_is_served(command, tmp_path):
    config = tmp_path / "node.toml"
    config.write_text(REGRESSION + '[node]\nhost = "127.0.0.1"\n[storage]\nfolder = "data"\n')
    run = subprocess.run(
        [sys.executable, "-m", "dicom_node", command, "--config", config],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert run.returncode != 0
    assert "no model 'nowhere'" in run.stdout + run.stderr
    assert "Traceback" not in run.stderr
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("task", "altered", "fault"),
    [
        ("scar_segmentation", True, "differ from what its card states"),
        ("segmentation", False, "is for segmentation, not for scar_segmentation"),
    ],
)
def test_no_pipeline_starts_with_weights_altered_or_for_another_task(
    task, altered, fault, tmp_path, capsys
):
    shipped = registry.card("cine_unet")
    shutil.copy(registry.WEIGHTS_FOLDER / shipped.weights_file, tmp_path / "mine.npz")
    write_card(replace(shipped, name="mine", weights_file="mine.npz", task=task), tmp_path)
    if altered:
        (tmp_path / "mine.npz").write_bytes(b"nothing")
    lge = {"localiser": "heart_localiser", "slice_classifier": "localiser", "segmenter": "mine"}
    settings = Settings(
        pipelines={"cine": {"enabled": False}, "lge": {"enabled": True, **lge}},
        storage={"folder": tmp_path / "data"},
        worker={"weights_folder": tmp_path},
    )
    with pytest.raises(registry.WeightsError, match=fault):
        serve(settings)
    assert not (tmp_path / "data").exists()
    assert not examine(settings)
    said = " ".join(capsys.readouterr().out.split())
    assert "ok network heart_localiser: for localisation" in said
    assert "FAIL network mine: " in said
    assert fault in said


def test_says_that_the_data_folder_cannot_be_made(tmp_path, capsys):
    (tmp_path / "file").touch()
    assert not examine(Settings(storage={"folder": tmp_path / "file" / "data"}))
    said = " ".join(capsys.readouterr().out.split())
    assert f"cannot be made: {tmp_path / 'file'} is not writable" in said


@pytest.mark.skipif(os.geteuid() != 0, reason="only root could leave files of its own")
def test_root_leaves_nothing_that_the_owner_of_the_data_folder_cannot_use():
    nobody = 65534
    with tempfile.TemporaryDirectory() as name:  # others may not enter what `tmp_path` lies in
        os.chown(name, nobody, nobody)
        examine(Settings(storage={"folder": name}))
        made = [path for path in Path(name).rglob("*") if path.owner() != "nobody"]
        assert (Path(name) / "work").is_dir()
        assert made == []
    assert os.geteuid() == 0
