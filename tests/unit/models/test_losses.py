"""Losses on labels that leave classes open."""

import pytest
import torch

from models.training.losses import partial_cross_entropy, partial_dice_loss, partial_loss
from models.training.slices import allowed_bits

KNOWN = torch.randint(0, 4, (2, 16, 16), generator=torch.Generator().manual_seed(1))
LOGITS = torch.randn((2, 4, 16, 16), generator=torch.Generator().manual_seed(2))


def bits(labels):
    return (1 << labels).to(torch.uint8)


def test_with_full_labels_it_is_the_cross_entropy():
    expected = torch.nn.functional.cross_entropy(LOGITS, KNOWN)
    torch.testing.assert_close(partial_cross_entropy(LOGITS, bits(KNOWN)), expected)


def test_a_pixel_that_may_be_anything_costs_nothing():
    anything = torch.full((2, 16, 16), allowed_bits(0, 1, 2, 3), dtype=torch.uint8)
    assert partial_cross_entropy(LOGITS, anything).item() == pytest.approx(0, abs=1e-6)
    assert partial_dice_loss(LOGITS, anything).item() == pytest.approx(0, abs=1e-6)


def test_how_undecided_classes_share_their_probability_does_not_matter():
    """Not LV: background, myocardium and RV are not told apart (Sunnybrook at ES)."""
    allowed = torch.where(KNOWN == 1, allowed_bits(1), allowed_bits(0, 2, 3)).to(torch.uint8)
    permuted = LOGITS[:, [3, 1, 0, 2]]
    torch.testing.assert_close(partial_loss(LOGITS, allowed), partial_loss(permuted, allowed))


def test_the_decided_class_of_a_partial_label_is_learned():
    allowed = torch.where(KNOWN == 1, allowed_bits(1), allowed_bits(0, 2, 3)).to(torch.uint8)
    logits = LOGITS.clone().requires_grad_()
    partial_loss(logits, allowed).backward()
    inside = logits.grad[:, 1][KNOWN == 1]
    assert (inside < 0).all()
    assert (logits.grad[:, 1][KNOWN != 1] > 0).all()


def test_dice_of_a_perfect_answer_is_no_loss():
    certain = torch.nn.functional.one_hot(KNOWN, 4).permute(0, 3, 1, 2) * 50.0
    assert partial_dice_loss(certain, bits(KNOWN)).item() == pytest.approx(0, abs=1e-4)


def test_an_image_without_rv_labels_does_not_count_for_the_rv():
    allowed = bits(KNOWN)
    allowed[1][KNOWN[1] == 0] = allowed_bits(0, 3)
    changed = LOGITS.clone()
    changed[1, [0, 3]] = changed[1, [3, 0]]
    with_swap = partial_dice_loss(changed, allowed)
    torch.testing.assert_close(partial_dice_loss(LOGITS, allowed), with_swap)


def test_weights_count_the_heaviest_class_a_pixel_may_be():
    logits = torch.tensor([2.0, 0.0, 0.0])[None, :, None, None].expand(1, 3, 1, 2)
    allowed = torch.tensor([[[allowed_bits(0), allowed_bits(2)]]], dtype=torch.uint8)
    likely, unlikely = -logits.log_softmax(dim=1)[0, [0, 2], 0, 0]
    found = partial_cross_entropy(logits, allowed, (1.0, 1.0, 3.0))
    torch.testing.assert_close(found, (likely + 3 * unlikely) / 4)
    alike = partial_loss(logits, allowed, (1.0, 1.0, 1.0))
    torch.testing.assert_close(alike, partial_loss(logits, allowed))
