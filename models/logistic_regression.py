"""Multinomial logistic regression over standardised numbers: a few arrays, and no more.

Shapes::

    numbers  [n, features]   in their own units
    logits   [n, classes]
"""

import torch
from torch import Tensor, nn


class LogisticRegression(nn.Module):
    """Logits that are linear in the numbers, each less its mean and over its spread.

    Parameters
    ----------
    features, classes : int
    """

    mean: Tensor
    spread: Tensor

    def __init__(self, features: int, classes: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("spread", torch.ones(features))
        self.head = nn.Linear(features, classes)

    def standardised(self, numbers: Tensor) -> Tensor:
        """Numbers [n, features], each by how many spreads it lies beside its mean."""
        return (numbers - self.mean) / self.spread

    def forward(self, numbers: Tensor) -> Tensor:
        """Logits [n, classes]."""
        logits: Tensor = self.head(self.standardised(numbers))
        return logits
