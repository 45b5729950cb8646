"""Avro schemas, one file a record type and version, and `registry.json`, which pins their ids for ever."""
