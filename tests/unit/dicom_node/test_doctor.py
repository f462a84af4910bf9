"""What `dicom-node doctor` says of the configuration."""

import socket

import pytest

from config.schema import Settings, SiteSettings
from dicom_node.doctor import examine


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


def test_says_why_an_archive_cannot_be_reached(tmp_path, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    archive = {"name": "pacs", "ae_title": "PACS", "host": "127.0.0.1", "port": port}
    settings = Settings(destinations=[archive], storage={"folder": tmp_path / "data"})
    assert not examine(settings)
    assert "no connection (Connection refused)" in " ".join(capsys.readouterr().out.split())
