"""Levels above the classes, and the loss that walks them: held against numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from data_contracts.taxonomy import TaxonomyClass
from domain_models.hierarchy import levels_of
from domain_models.losses import cross_entropy, hierarchical


def classes(*named: tuple[str, str | None]) -> list[TaxonomyClass]:
    return [TaxonomyClass(name=name, parent=parent) for name, parent in named]


def test_pass_or_fail_comes_first_then_parents_and_the_class_itself_is_left_out() -> None:
    found = levels_of(classes(("good", None), ("scratch", "surface"), ("stain", "surface"), ("crack", "body")), "good")
    assert found == ((0, 1, 1, 1), (0, 1, 1, 2))


def test_a_class_that_others_name_as_their_parent_is_in_their_group() -> None:
    assert levels_of(classes(("nevus", None), ("blue nevus", "nevus"), ("melanoma", None)), None) == ((0, 0, 1),)


def test_a_flat_taxonomy_has_no_levels_and_two_classes_are_pass_and_fail_already() -> None:
    assert levels_of(classes(("a", None), ("b", None), ("c", None)), None) == ()
    assert levels_of(classes(("good", None), ("bad", None)), "good") == ()
    assert levels_of(classes(("a", "all"), ("b", "all"), ("c", "all")), None) == ()


def test_classes_that_are_each_others_parents_are_no_tree() -> None:
    with pytest.raises(ValueError, match="each other's parents"):
        levels_of(classes(("a", "b"), ("b", "a")), None)


def test_the_loss_by_hand() -> None:
    """p = (1/2, 1/3, 1/6), class 1 of group {1, 2}: first -log 1/2, then -log (1/3 over 1/2), at half weight."""
    logits = torch.log(torch.tensor([[1 / 2, 1 / 3, 1 / 6]]))
    targets = torch.tensor([[0.0, 1.0, 0.0]])
    level = torch.tensor([0, 1, 1])
    found = hierarchical(logits, targets, [level], float(np.log(2)))
    assert_allclose(found, [-np.log(1 / 2) - 0.5 * np.log(2 / 3)], rtol=1e-6)


def test_without_a_discount_the_steps_add_up_to_cross_entropy_on_any_tree() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn((32, 5), generator=generator)
    targets = torch.softmax(torch.randn((32, 5), generator=generator), dim=1)
    levels = [torch.tensor([0, 1, 1, 1, 1]), torch.tensor([0, 1, 1, 2, 2])]
    assert_allclose(hierarchical(logits, targets, levels, 0.0), cross_entropy(logits, targets), rtol=1e-5)


def test_the_gradient_is_finite_where_a_group_is_hopeless() -> None:
    logits = torch.tensor([[200.0, -200.0, -200.0]], requires_grad=True)
    loss = hierarchical(logits, torch.tensor([[0.0, 1.0, 0.0]]), [torch.tensor([0, 1, 1])], 1.0).sum()
    loss.backward()
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()
    assert torch.isfinite(loss)
