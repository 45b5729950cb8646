"""Who asks and whether they may: API keys, permissions, recognition proofs, capability tokens."""
