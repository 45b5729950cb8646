"""Everything that the reading and administering routes need: `app.state.read_path`, built once in `bootstrap`."""

from dataclasses import dataclass

from gateway.adapters.postgres_reads import TenantReads
from gateway.auth.key_admin import KeyAdmin
from gateway.commands.answers import Secrets
from gateway.commands.ports import Clock
from gateway.queries.arrivals import Arrivals
from gateway.queries.authority import LedgerAuthority
from gateway.queries.intents import IntentReads
from gateway.queries.ledger import LedgerReads


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadPath:
    """`operation_key` = the MAC key of operation ids, the one that `secrets` uses."""

    reads: TenantReads
    intents: IntentReads
    ledger: LedgerReads
    authority: LedgerAuthority
    arrivals: Arrivals
    keys: KeyAdmin
    secrets: Secrets
    operation_key: bytes
    clock: Clock
    minimum_seq_seconds: float
