"""The ports of streams in memory, with the real ones' semantics: a simulator runs the same loop on them."""
