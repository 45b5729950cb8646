"""`fsck`: a ledger is read again from its first byte, and everything that claims to follow from it is compared."""
