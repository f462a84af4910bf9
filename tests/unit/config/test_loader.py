from pathlib import Path

import pytest

from config import DEFAULT_FILE
from config.errors import ConfigError
from config.loader import load_settings
from config.schema import Settings


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "node.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_default_file_holds_the_defaults() -> None:
    loaded = load_settings(DEFAULT_FILE, {})
    expected = Settings().model_dump()
    actual = loaded.model_dump()
    assert actual["storage"].pop("folder") == DEFAULT_FILE.parent / expected["storage"].pop(
        "folder"
    )
    assert actual == expected


def test_default_file_names_every_key() -> None:
    text = DEFAULT_FILE.read_text(encoding="utf-8")
    for table in Settings.model_fields:
        assert f"[{table}" in text or f"[[{table}]]" in text or f"\n{table} = " in text
    for model in (Settings.model_fields["peers"], Settings.model_fields["destinations"]):
        for key in model.annotation.__args__[0].model_fields:
            assert f"# {key} = " in text


@pytest.mark.parametrize("name", ["ecg", "spect"])
def test_a_pipeline_for_research_needs_the_switch_and_the_message_names_it(
    tmp_path: Path, name: str
) -> None:
    enabled = f"[pipelines.{name}]\nenabled = true\n"
    with pytest.raises(ConfigError, match=rf"pipelines\.{name}\.enabled.*allow_research_models"):
        load_settings(write(tmp_path, enabled), {})
    allowed = load_settings(write(tmp_path, "allow_research_models = true\n" + enabled), {})
    assert len(allowed.pipelines.networks) == len(Settings().pipelines.networks) + 1
    switch = {"DICOM_NODE__ALLOW_RESEARCH_MODELS": "true"}
    assert load_settings(write(tmp_path, enabled), switch).allow_research_models


def test_a_disease_classifier_needs_the_switch_too(tmp_path: Path) -> None:
    named = "[pipelines.cine]\ndisease_classifier = 'cine_disease_biomarkers'\n"
    with pytest.raises(ConfigError, match=r"cine\.disease_classifier.*allow_research_models"):
        load_settings(write(tmp_path, named), {})
    load_settings(write(tmp_path, named + "enabled = false\n"), {})
    allowed = load_settings(write(tmp_path, "allow_research_models = true\n" + named), {})
    assert len(allowed.pipelines.networks) == len(Settings().pipelines.networks) + 1


def test_a_pipeline_for_research_that_no_route_leads_to_is_an_error(tmp_path: Path) -> None:
    text = "allow_research_models = true\n[pipelines.ecg]\nenabled = true\n"
    with pytest.raises(ConfigError, match=r"pipelines\.ecg\.enabled: no \[\[routes\]\]"):
        load_settings(write(tmp_path, text + "[[routes]]\npipeline = 'cine'\n"), {})
    routed = load_settings(write(tmp_path, text + "[[routes]]\npipeline = 'ecg'\n"), {})
    assert [route.pipeline for route in routed.active_routes] == ["ecg"]


def test_folder_is_relative_to_the_file(tmp_path: Path) -> None:
    settings = load_settings(write(tmp_path, '[storage]\nfolder = "data"'), {})
    assert settings.storage.folder == tmp_path / "data"
    assert settings.worker.weights_folder is None
    own = load_settings(write(tmp_path, "[worker]\nweights_folder = 'own'"), {})
    assert own.worker.weights_folder == tmp_path / "own"


def test_a_file_that_begins_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    path = write(tmp_path, "\ufeff[node]\nport = 104")
    assert load_settings(path, {}).node.port == 104


def test_environment_overrides_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, "[node]\nport = 104")
    assert load_settings(path, {"DICOM_NODE__NODE__PORT": "4242"}).node.port == 4242
    assert load_settings(path, {"DICOM_NODE_DATA": "x"}).node.port == 104


def test_a_variable_with_an_underscore_too_few_is_not_passed_over() -> None:
    with pytest.raises(ConfigError, match=r"DICOM_NODE_NODE_PORT: .* DICOM_NODE__NODE__PORT"):
        load_settings(None, {"DICOM_NODE_NODE_PORT": "104"})
    # What Kubernetes gives every container beside a service that is called so.
    load_settings(None, {"DICOM_NODE_PORT": "tcp://10.0.0.1:104", "DICOM_NODE_SERVICE_HOST": "x"})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[node]\nport = 70000", r"node\.port = 70000: .*less than or equal to 65535"),
        ("[node]\nprot = 104", r"node\.prot: unknown key; did you mean 'port'\?.*ae_title"),
        ("[completion]\nquiet_s = inf", r"completion\.quiet_s = inf: .*finite"),
        ("[completion]\nquiet_s = 1e12", r"completion\.quiet_s = .*less than or equal to"),
        ("[storage]\ndelete_unused_after_days = 1e7", r"_days = .*less than or equal to 36500"),
        ("[worker]\nmax_attempts = 99999999999999999999", r"max_attempts = .*equal to 1000"),
        ('[node]\nhost = "a..b"', r"node\.host = 'a\.\.b': not a host name or address"),
        ('[[peers]]\nae_title = "A"\nquery_host = "a\\u0000"\nquery_port = 1', r"not a host name"),
        ('[site]\ntimezone = "Europe"', r"site\.timezone = 'Europe': not an IANA time zone"),
        ('[site]\ninstitution = "A\\\\B"', r"site\.institution = .*no backslash"),
        (
            '[[destinations]]\nname = "me"\nae_title = "A"\nhost = "localhost"\nport = 11112',
            r"destinations: 'me' is the node itself",
        ),
        ("[nod]\nport = 104", r"nod: unknown key; did you mean 'node'\?"),
        ('[[destinations]]\nname = "a"', r"destinations\.0\.ae_title: is needed"),
        (
            '[[destinations]]\nhots = "a"',
            r"destinations\.0\.hots: unknown key; did you mean 'host'",
        ),
        ('[[routes]]\npipeline = "x"', r"no pipeline 'x'; allowed: cine"),
        ('[node]\nae_title = "A TITLE THAT IS TOO LONG"', r"node\.ae_title.*1 to 16 printable"),
        ('[[peers]]\nae_title = "A"\naddresses = ["1.2.3"]', r"peers\.0\.addresses\.0"),
        ('[[peers]]\nae_title = "A"\nquery_port = 104', r"peers\.0.*given together"),
        ('[worker]\ndevice = "tpu"', r"worker\.device = 'tpu': .*'auto', 'cpu' or 'cuda'"),
        ('[site]\ntimezone = "Mars/Olympus"', r"site\.timezone.*IANA"),
        ("[node", r"not a TOML file"),
    ],
)
def test_error_names_the_key_and_what_is_allowed(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_settings(write(tmp_path, text), {})


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("NODE__PORT", "abc", r"^environment: DICOM_NODE__NODE__PORT: node\.port = 'abc'"),
        ("NODE__PROT", "1", r"^environment: DICOM_NODE__NODE__PROT: node\.prot: unknown key"),
        ("NOD__PORT", "1", r"^environment: DICOM_NODE__NOD__PORT: nod: unknown key"),
        ("PEERS", "PACS", r"^environment: DICOM_NODE__PEERS: peers = 'PACS'"),
        ("NODE__HOST", "localhost", r"node\.toml: node\.prt: unknown key"),
    ],
)
def test_a_variable_at_fault_is_named(
    tmp_path: Path, variable: str, value: str, message: str
) -> None:
    path = write(tmp_path, "[node]\nprt = 1\n" if variable == "NODE__HOST" else "[node]\n")
    with pytest.raises(ConfigError, match=message):
        load_settings(path, {f"DICOM_NODE__{variable}": value})


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent\.toml: cannot be read"):
        load_settings(tmp_path / "absent.toml", {})


def test_environment_cannot_reach_into_a_list(tmp_path: Path) -> None:
    path = write(tmp_path, '[[peers]]\nae_title = "A"')
    with pytest.raises(ConfigError, match="in the file alone"):
        load_settings(path, {"DICOM_NODE__PEERS__AE_TITLE": "B"})


def test_routes_to_a_disabled_pipeline_are_not_active(tmp_path: Path) -> None:
    assert [route.pipeline for route in load_settings(None, {}).active_routes] == ["cine", "lge"]
    disabled = load_settings(write(tmp_path, "[pipelines.cine]\nenabled = false"), {})
    assert [route.pipeline for route in disabled.active_routes] == ["lge"]


def test_networks_are_those_of_the_enabled_pipelines_each_once(tmp_path: Path) -> None:
    cine = load_settings(write(tmp_path, "[pipelines.lge]\nenabled = false"), {}).pipelines
    assert cine.networks == cine.cine.networks
    both = load_settings(
        write(
            tmp_path,
            '[pipelines.cine]\nslice_classifier = "seen"\n'
            '[pipelines.lge]\nlocaliser = "heart_localiser"\nsegmenter = "scar"\n'
            'slice_classifier = "localiser"',
        ),
        {},
    )
    segmenter = both.pipelines.cine.segmenter
    assert both.pipelines.networks == (
        ("heart_localiser", "localisation"),
        ("seen", "slice_classification"),
        (segmenter, "segmentation"),
        ("scar", "scar_segmentation"),
    )
    assert [route.pipeline for route in both.active_routes] == ["cine", "lge"]
