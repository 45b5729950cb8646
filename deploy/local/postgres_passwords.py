"""Passwords of PostgreSQL's roles, handed over as what the server keeps of them anyway (SCRAM-SHA-256).

A server writes a statement that fails, and one that is slow, into its log: no password may stand in it.
"""

from typing import Any

import psycopg
from psycopg import sql

_ALGORITHM = b"scram-sha-256"


def login_clause(
    connection: psycopg.Connection[Any], *, role: str, password: str
) -> sql.Composable:
    """`LOGIN PASSWORD …` for CREATE or ALTER ROLE."""
    kept = connection.pgconn.encrypt_password(password.encode(), role.encode(), _ALGORITHM)
    return sql.SQL("LOGIN PASSWORD {}").format(sql.Literal(kept.decode()))
