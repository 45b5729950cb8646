"""Every port of the engine in memory, with Kafka's semantics: no threads, no clock, no randomness of its own."""
