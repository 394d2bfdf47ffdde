"""Reference networks, regularisers and a deterministic trainer."""
