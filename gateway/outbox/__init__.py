"""Gateway-owned rows: written with their outbox row, published by one relay, brought back from Kafka. No routes."""
