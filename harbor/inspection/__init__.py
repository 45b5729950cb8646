"""What operators ask of Kafka, read without a database and without taking part: no group, no transaction, no repair."""
