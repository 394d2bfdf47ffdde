"""Robust losses against their surrogates: attacks from below, certificates from above, verdicts, training."""
