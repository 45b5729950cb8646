"""One suite for the engine's ports: each case is written once and runs on every adapter."""
