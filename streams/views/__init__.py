"""From ledger, evidence, outcomes and checkpoints to the read tables. Knows no other agent of streams."""
