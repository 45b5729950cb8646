"""The only writer of the ledger: pure `domain`, transactional `engine`, `rails`, `recovery`, `fsck`."""
