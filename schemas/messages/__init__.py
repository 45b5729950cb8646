"""Every message on a topic, as frozen values; the Avro files beside are derived from them. No I/O."""
