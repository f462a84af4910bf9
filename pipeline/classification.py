"""What a network says that a case shows."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Classification:
    """What a network says a case shows, or why it is not stated.

    Attributes
    ----------
    subject : str
        What was classified: a key of `pipeline.results.class_codes.SUBJECTS`.
    training : str
        What the network was trained on, and that it is not validated.
    probabilities : mapping of class to float
        Of every class; empty when withheld.
    withheld : str or None
        Why nothing is stated.
    """

    subject: str
    training: str
    probabilities: Mapping[str, float] = field(default_factory=dict)
    withheld: str | None = None

    @property
    def found(self) -> str | None:
        """The likeliest class; None when withheld."""
        return max(self.probabilities, key=self.probabilities.__getitem__, default=None)

    @property
    def confidence(self) -> float | None:
        """Its probability; None when withheld."""
        return max(self.probabilities.values(), default=None)
