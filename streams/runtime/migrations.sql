-- Which migrations a database has. The schema comes first: the first migration must find its table.

-- name: lock
-- One runner at a time; released when the connection closes. The number is "paybond" in ASCII.
SELECT pg_advisory_lock(31632371362000484)

-- name: create_schema
-- IF NOT EXISTS alone would still ask for the right to create.
CREATE SCHEMA IF NOT EXISTS streams

-- name: create_table
-- What was applied, and what its file said then.
CREATE TABLE IF NOT EXISTS streams.migrations (
    number     integer PRIMARY KEY,
    name       text NOT NULL,
    checksum   bytea NOT NULL CHECK (length(checksum) = 32),
    applied_at timestamptz NOT NULL DEFAULT now()
)

-- name: applied
-- Every applied migration, in order.
SELECT number, name, checksum FROM streams.migrations ORDER BY number

-- name: record
-- In the transaction of the migration itself.
INSERT INTO streams.migrations (number, name, checksum) VALUES (%(number)s, %(name)s, %(checksum)s)
