"""The transactional loop around the pure domain: ports, batch, loop, assignment. No Kafka names in here."""
