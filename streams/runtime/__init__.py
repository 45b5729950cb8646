"""The only shared I/O: Kafka clients, Postgres, migrations, settings, logs, metrics. No rule about money."""
