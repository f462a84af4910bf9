"""How familiar a picture is to a classifier, and what is withheld for it."""

import pytest
import torch

from models.picture_classifier import Reading, familiarity, least_familiarity


def test_what_excites_no_class_is_less_familiar():
    known, unknown = torch.tensor([[9.0, 0.0, 0.0], [0.3, 0.2, 0.1]])
    assert familiarity(known) > familiarity(unknown)


def test_the_limit_leaves_all_but_a_hundredth_of_the_validation():
    logits = torch.zeros(1000, 3)
    logits[:, 0] = torch.arange(1000.0)
    limit = least_familiarity(logits)
    assert int((familiarity(logits.double()) < limit).sum()) == pytest.approx(10, abs=1)


def test_a_picture_is_strange_below_the_limit_alone():
    assert Reading((1.0,), 2.0, 3.0).is_strange
    assert not Reading((1.0,), 3.0, 3.0).is_strange
    assert not Reading((1.0,), -9.0, None).is_strange
