"""Attacks that maximise the loss: norm balls, with every surrogate's set, and families beyond them."""

from verification.attacks.ascent import steepest
from verification.attacks.attack import attack
from verification.attacks.result import Attack, FamilyAttack

__all__ = ["Attack", "FamilyAttack", "attack", "steepest"]
