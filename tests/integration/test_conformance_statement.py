"""The conformance statement says what the node does: its tables are made from the node.

`python -m tests.integration.test_conformance_statement` writes the tables anew.
"""

import re
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import pytest
from pydicom.uid import UID

from dicom_node.network import IMPLEMENTATION_VERSION_NAME
from pipeline.results.common import IMPLEMENTATION_CLASS_UID
from tests.integration import conformance_network as network
from tests.integration import conformance_objects as objects

STATEMENT = Path(__file__).parents[2] / "deploy" / "conformance.md"
_BLOCK = re.compile(r"<!-- table: (?P<name>.+?) -->\n(?P<body>.*?)<!-- end -->", re.S)
ADVICE = "out of date: run `python -m tests.integration.test_conformance_statement` and read it"


def results(folder: Path) -> list[Path]:
    for number, item in enumerate(objects.samples()):
        item.dataset.save_as(folder / f"{number}.dcm", enforce_file_format=True)
    return sorted(folder.glob("*.dcm"))


def proposed() -> str:
    with tempfile.TemporaryDirectory() as folder:
        return network.proposed(results(Path(folder)))


def tables() -> Mapping[str, Callable[[], str]]:
    """Every table of the statement by its name; one of attributes for each kind of object."""
    return {
        "accepted": network.accepted,
        "accepted for research": network.accepted_for_research,
        "transfer syntaxes": network.transfer_syntaxes,
        "proposed": proposed,
        "rejections": network.rejections,
        "statuses": network.statuses,
        **{f"[{name}]": partial(network.settings, name) for name in ("node", "completion", "site")},
        "attributes read": objects.used,
        "objects": objects.roles,
        "segments": objects.segments,
        **{
            f"attributes of {UID(uid).name}": partial(objects.attributes, uid)
            for uid in objects.kinds()
        },
        "content of a report": objects.content,
        "quantities": objects.quantities,
        "classes": objects.classes,
        "private codes": objects.private_codes,
    }


def rendered(name: str) -> str:
    return f"\n{tables()[name]()}\n\n"


def rewritten(statement: str) -> str:
    return _BLOCK.sub(
        lambda found: f"<!-- table: {found['name']} -->\n{rendered(found['name'])}<!-- end -->",
        statement,
    )


@pytest.fixture(scope="module")
def stated() -> dict[str, str]:
    text = STATEMENT.read_text(encoding="utf-8")
    return {found["name"]: found["body"] for found in _BLOCK.finditer(text)}


def test_every_table_stands_in_the_statement_once(stated: dict[str, str]) -> None:
    assert sorted(stated) == sorted(tables()), "a kind of object or a table is not in the statement"


@pytest.mark.parametrize("name", tables())
def test_the_table_is_what_the_node_does(name: str, stated: dict[str, str]) -> None:
    assert stated[name] == rendered(name), ADVICE


def test_no_private_code_is_written_that_is_not_stated(stated: dict[str, str]) -> None:
    written = objects.written_private_codes()
    assert written
    assert {code for code in written if f"| `{code}` |" not in stated["private codes"]} == set()


def test_no_private_attribute_is_written() -> None:
    for item in objects.samples():
        assert not [element.tag for element in item.dataset.iterall() if element.tag.is_private]


def test_how_the_node_names_itself() -> None:
    text = STATEMENT.read_text(encoding="utf-8")
    assert f"`{IMPLEMENTATION_CLASS_UID}`" in text
    assert IMPLEMENTATION_VERSION_NAME.startswith("DICOMNODE_")
    assert "`DICOMNODE_`" in text


if __name__ == "__main__":
    STATEMENT.write_text(rewritten(STATEMENT.read_text(encoding="utf-8")), encoding="utf-8")
