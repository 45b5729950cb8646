"""The ledger's mathematics: chain, Merkle tree, tiles, proofs, signed checkpoints. No storage, no keys kept."""
