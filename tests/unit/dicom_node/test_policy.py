"""Who is admitted: allow-list, called AE title, limits."""

from dataclasses import replace

import pytest

from config.schema import NodeSettings, PeerSettings
from dicom_node.policy import (
    ADDRESS_UNKNOWN,
    CALLED_AE_TITLE_UNKNOWN,
    CALLING_AE_TITLE_UNKNOWN,
    TOO_MANY_ASSOCIATIONS,
    AssociationPolicy,
    AssociationRequest,
    Refusal,
)

REQUEST = AssociationRequest("SCANNER", "NODE", "10.1.2.3", 0)
PEERS = (
    PeerSettings(ae_title="SCANNER", addresses=("10.1.2.0/24", "2001:db8::/32")),
    PeerSettings(ae_title="SCANNER", addresses=("192.168.7.7",)),
    PeerSettings(ae_title="ANYWHERE"),
)


def decide(request: AssociationRequest, **settings: object) -> Refusal | None:
    node = NodeSettings.model_validate({"ae_title": "NODE", "max_associations": 3, **settings})
    return AssociationPolicy(node, PEERS).decide(request)


@pytest.mark.parametrize(
    ("calling", "address", "expected"),
    [
        ("SCANNER", "10.1.2.3", None),
        ("SCANNER", "10.1.3.3", ADDRESS_UNKNOWN),
        ("SCANNER", "192.168.7.7", None),
        ("SCANNER", "192.168.7.8", ADDRESS_UNKNOWN),
        ("SCANNER", "2001:db8::9", None),
        ("SCANNER", "2001:db9::9", ADDRESS_UNKNOWN),
        ("SCANNER", "::ffff:10.1.2.9", None),
        ("SCANNER", "fe80::1%eth0", ADDRESS_UNKNOWN),
        ("ANYWHERE", "8.8.8.8", None),
        ("scanner", "10.1.2.3", CALLING_AE_TITLE_UNKNOWN),
        ("STRANGER", "10.1.2.3", CALLING_AE_TITLE_UNKNOWN),
        ("", "10.1.2.3", CALLING_AE_TITLE_UNKNOWN),
    ],
)
def test_allow_list(calling: str, address: str, expected: Refusal | None) -> None:
    assert decide(replace(REQUEST, calling_ae_title=calling, address=address)) is expected


def test_nobody_is_known_without_peers() -> None:
    assert AssociationPolicy(NodeSettings(ae_title="NODE"), ()).decide(REQUEST) is (
        CALLING_AE_TITLE_UNKNOWN
    )


def test_unknown_peers_are_admitted_when_told_so() -> None:
    stranger = replace(REQUEST, calling_ae_title="STRANGER", address="8.8.8.8")
    assert decide(stranger, accept_unknown_peers=True) is None


def test_called_ae_title() -> None:
    other = replace(REQUEST, called_ae_title="OTHER")
    reason = "called AE title is not ours: 'OTHER' instead of 'NODE'"
    assert decide(other) == replace(CALLED_AE_TITLE_UNKNOWN, reason=reason)
    assert decide(other, check_called_ae_title=False) is None


def test_limit_counts_only_those_who_are_admitted() -> None:
    assert decide(replace(REQUEST, open_associations=2)) is None
    assert decide(replace(REQUEST, open_associations=3)) is TOO_MANY_ASSOCIATIONS
    stranger = replace(REQUEST, calling_ae_title="STRANGER", open_associations=3)
    assert decide(stranger) is CALLING_AE_TITLE_UNKNOWN


def test_codes_of_the_standard() -> None:
    """PS3.8 table 9-21: permanent and transient, by the service user and the provider."""
    codes = [
        (refusal.result, refusal.source, refusal.diagnostic)
        for refusal in (
            CALLED_AE_TITLE_UNKNOWN,
            CALLING_AE_TITLE_UNKNOWN,
            TOO_MANY_ASSOCIATIONS,
        )
    ]
    assert codes == [(1, 1, 7), (1, 1, 3), (2, 3, 2)]
