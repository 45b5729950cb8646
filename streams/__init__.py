"""Faust agents that turn topics into tables, and `runtime`, the only shared I/O. Never writes the ledger."""
