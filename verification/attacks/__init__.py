"""Attacks that maximise the loss: norm balls, with every surrogate's set, and families beyond them."""

from verification.attacks.ascent import steepest
from verification.attacks.attack import attack
from verification.attacks.result import Attack, FamilyAttack
from verification.attacks.sparse import sparse_attack
from verification.attacks.spatial import spatial_attack
from verification.attacks.user import user_attack

__all__ = ["Attack", "FamilyAttack", "attack", "sparse_attack", "spatial_attack", "steepest", "user_attack"]
