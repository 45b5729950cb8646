"""The gateway's ports on Kafka and Postgres, and in memory."""
