"""Pure decisions about money and evidence: no I/O, clock, randomness, environment or logging."""
