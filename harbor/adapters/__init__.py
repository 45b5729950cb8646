"""The engine's ports on librdkafka, RocksDB and in memory. Nothing here decides anything."""
