"""Which state of the heart a perfusion tomogram shows, by what its header says."""

import re
from collections.abc import Iterable, Mapping
from typing import Literal, get_args

View = Literal["stress", "rest"]
VIEWS: tuple[View, ...] = get_args(View)

_STATES: Mapping[tuple[str, str], View] = {
    ("SCT", "128975004"): "rest",  # resting state
    ("SCT", "128976003"): "stress",  # exercise state
    ("SCT", "128977007"): "stress",  # post-exercise state
    ("SCT", "432655005"): "stress",  # cardiac stress state
    ("SCT", "434161005"): "stress",  # peak cardiac stress state
    ("DCM", "109091"): "stress",  # cardiac stress state
    ("DCM", "109095"): "stress",  # peak stress state
}
_WORDS_OF: Mapping[View, tuple[str, ...]] = {
    "rest": ("rest", "rst", "resting", "ruhe", "reposo", "repouso", "repos", "riposo"),
    "stress": (
        "stress", "str", "exercise", "treadmill", "belastung", "esfuerzo", "esforco", "effort",
    ),
}  # fmt: skip
_WORDS: Mapping[str, View] = {word: view for view, words in _WORDS_OF.items() for word in words}
TEXTS = ("ImageID", "SeriesDescription", "ProtocolName", "PerformedProcedureStepDescription")
"""Where words tell the view, in this order."""


def told_view(
    states: Iterable[tuple[str, str]], texts: Mapping[str, str]
) -> tuple[View, str] | None:
    """Tell the view by the codes of the patient's state, else by words; and what said so.

    Parameters
    ----------
    states : iterable of (scheme, value)
    texts : mapping of keyword to text
        In the order in which they are asked; one that speaks of both views, or of neither, tells
        nothing.
    """
    coded = {_STATES[code] for code in states if code in _STATES}
    if len(coded) == 1:
        return coded.pop(), "the code of the patient's state"
    for name, text in texts.items():
        said = {_WORDS[word] for word in words_of(text) if word in _WORDS}
        if len(said) == 1:
            return said.pop(), name
    return None


def words_of(text: str) -> list[str]:
    """Words of a text in small letters; they end where a capital follows a small letter."""
    apart = re.sub(r"(?<=[a-zà-ÿ])(?=[A-Z])", " ", text.replace("ç", "c"))
    return [word.lower() for word in re.findall(r"[^\W\d_]+", apart)]
