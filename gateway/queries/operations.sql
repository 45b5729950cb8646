-- Operations: the newest outcome of a command.

-- name: operation
-- The record's bytes.
SELECT outcome
FROM views.operations
WHERE tenant_id = %(tenant_id)s AND command_id = %(command_id)s
