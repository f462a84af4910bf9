"""UIDs of result objects: a function of what decides them, and of nothing else.

All stand below the root 2.25 (PS3.5 B.2) as 128 bits of a SHA-256.
"""

import hashlib
import json
from collections.abc import Iterable


def hashed_uid(*parts: str) -> str:
    """UID of a list of texts; another list gives another UID."""
    digest = hashlib.sha256(json.dumps(parts).encode()).digest()
    return f"2.25.{int.from_bytes(digest[:16])}"


def instance_uid(
    role: str,
    *,
    input_digests: Iterable[str],
    weights_sha256: Iterable[str],
    software_version: str,
    settings_digest: str,
    numeric_backend: str,
    supersedes: Iterable[str] = (),
) -> str:
    """SOP Instance UID of a result: its input and everything that decides its content.

    Parameters
    ----------
    role : str
        Which object of the result.
    input_digests : iterable of str
        SHA-256 of each source instance, in any order.
    weights_sha256 : iterable of str
        SHA-256 of each network's weights, in any order.
    software_version, settings_digest, numeric_backend : str
        As in `ResultContext`.
    supersedes : iterable of str
        SOP Instance UIDs of earlier results of the stack that may lie in an archive, in any order:
        a report names them, and whatever stands beside it has to be newer than they are.
    """
    earlier = sorted(supersedes)
    return hashed_uid(
        "instance",
        role,
        *sorted(input_digests),
        "weights",
        *sorted(weights_sha256),
        "by",
        software_version,
        settings_digest,
        numeric_backend,
        *(("supersedes", *earlier) if earlier else ()),
    )


def series_uid(series_seed: str, role: str) -> str:
    """Series Instance UID that every result of one role of a stack keeps."""
    return hashed_uid("series", series_seed, role)


def tracking_uid(series_seed: str, subject: str) -> str:
    """Tracking UID (112040, DCM) of a measured structure, the same in each result of a stack."""
    return hashed_uid("tracking", series_seed, subject)
