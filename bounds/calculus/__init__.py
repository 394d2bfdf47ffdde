"""Lemmas as combinators: covering numbers to Rademacher complexity to risk, one lemma per file."""
