"""Which objects of a result belong to which output profile (decision 11)."""

from collections.abc import Iterable

from config.schema import Profile

KEY_ROLE, PAGE_ROLE, PDF_ROLE = "key", "page", "pdf"
_FULL: frozenset[Profile] = frozenset({"full"})
_OF_ROLE: dict[str, frozenset[Profile]] = {
    KEY_ROLE: frozenset({"display"}),
    PAGE_ROLE: frozenset({"legacy"}),
    PDF_ROLE: frozenset({"display", "legacy"}),
}


def profiles_of(role: str) -> frozenset[Profile]:
    """Profiles that the object of a role belongs to; a role is told by its first word."""
    return _OF_ROLE.get(role.partition("_")[0], _FULL)


def is_wanted(role: str, profiles: Iterable[Profile]) -> bool:
    """Whether the object of a role belongs to at least one of these profiles."""
    return not profiles_of(role).isdisjoint(profiles)
