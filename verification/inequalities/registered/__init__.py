"""The inequalities of the theory notes, the calculus and the catalogue; one file per subject, found by walking."""
