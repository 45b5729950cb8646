"""Bytes that are hashed or signed, as existing clients make them; pure, and made nowhere else."""
