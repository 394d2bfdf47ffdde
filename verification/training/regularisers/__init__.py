"""Differentiable penalties on a network's Jacobian, one per file."""
