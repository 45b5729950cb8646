"""The gateway's ports in memory, with the real ones' semantics."""
