"""What must hold once everything has come to rest: nothing is unanswered, and every copy of the truth is the truth."""

from typing import TYPE_CHECKING

from harbor.engine.batch_lookup import NONCE
from harbor.engine.due_index import DUE
from harbor.rails.simulator import object_of
from schemas.partitioner import partition_of
from schemas.topics import COMMANDS, EVIDENCE, GROUP_HARBOR, INTENTS, OUTCOMES, POSITIONS, TIPS
from tests.simulation.audit.intent_model import Intent
from tests.simulation.audit.ledger_model import WINDOW, Tenant
from tests.simulation.audit.rules import Rule, ViolationError
from tests.simulation.audit.tables_audit import check_tables

if TYPE_CHECKING:
    from tests.simulation.world import World

# Kept in the store under the same keys as on their topics, without a window.
_WHOLE = (INTENTS, EVIDENCE, TIPS, POSITIONS)


def unrest(world: "World") -> str | None:
    """What still moves: a command without its decision, an effect without its answer, a process down or asleep."""
    auditor, kafka = world.auditor, world.kafka
    for slot in world.slots:
        if slot.process is None or slot.process.loop.is_restoring:
            return f"slot {slot.number} is down or restoring"
        if any(process.is_hanging for process in slot.incarnations):
            return f"a process of slot {slot.number} hangs"
        if any(process.signer._pending for process in slot.living()):
            return f"slot {slot.number} has tips to sign"
    unowned = set(range(world.partitions)) - _decided(world)
    if unowned:
        return f"nobody decides {sorted(unowned)}"
    if kafka.has_markers_to_come:
        return "a transaction waits for its markers"
    for partition, position in auditor.positions.items():
        if position != kafka.partition(COMMANDS, partition).high_watermark:
            return f"partition {partition} is decided up to {position}"
    for tenant in auditor.model.tenants.values():
        if tenant.is_quarantined:
            return f"{tenant.name} is in quarantine"
        for intent in tenant.intents.values():
            if intent.outstanding is not None:
                return f"{tenant.name}/{intent.intent_id}: {intent.outstanding} is outstanding"
    if world.indexers.is_behind():
        return "the tables are behind"
    return None


def _decided(world: "World") -> set[int]:
    """Partitions whose owner is alive and has restored them; one that was not seen yet may have a tip left to sign.

    The owner may be a process that woke after its successor had started: it is fenced, and learns of it by the next
    command. What its predecessors left unsigned it signs like any other.
    """
    group = world.kafka.group(GROUP_HARBOR)
    return {
        partition
        for slot in world.slots
        for process in slot.living()
        for partition in process.loop.partitions & group.owned_by(process.name)
    }


def check_rest(world: "World") -> None:
    """Raises ViolationError."""
    auditor = world.auditor
    for tenant_id, chain in auditor.chains.items():
        if chain.size and chain.size not in chain.checkpoints:
            raise ViolationError(
                Rule.CHECKPOINT_LAST, f"{tenant_id} ends at {chain.size}, nobody signed that"
            )
        if chain.size != auditor.model.tenant(tenant_id).size:
            raise ViolationError(Rule.COMMAND_ONCE, f"{tenant_id} has entries of nobody")
    if auditor.missing_letters:
        raise ViolationError(Rule.DEAD_LETTER, f"{sorted(auditor.missing_letters)} are missing")
    for client in world.clients:
        if not client.is_done:
            raise ViolationError(Rule.ALL_ANSWERED, f"{client.name} still waits")
    for tenant in auditor.model.tenants.values():
        for intent in tenant.intents.values():
            _check_book(world, intent)
    _check_holds(world)
    for slot in world.slots:
        _check_store(world, slot.number)
    check_tables(world)


def _check_book(world: "World", intent: Intent) -> None:
    """Each intent's money at the rail is where the ledger says."""
    name = object_of(tenant_id=intent.tenant_id, intent_id=intent.intent_id)
    found = world.rails.house.book.object(name)
    captured = intent.released + intent.custody
    if found is None:
        told: tuple[object, ...] = (0, 0)
    elif found.status == "requires_capture":
        told = (found.amount_minor, 0)
    else:
        told = (0, found.captured_minor)
    if told != (intent.held, captured):
        raise ViolationError(
            Rule.RAIL_BOOK,
            f"{intent.tenant_id}/{intent.intent_id} ({intent.status}): the rail has {told} held and"
            f" captured, the ledger {(intent.held, captured)}",
        )


def _check_holds(world: "World") -> None:
    held: dict[tuple[str, str], set[str]] = {}
    for effect, answer in world.rails.house.carried_out:
        if effect.action.value == "hold" and answer.kind.value == "succeeded":
            held.setdefault((effect.tenant_id, effect.intent_id), set()).add(effect.effect_id)
    for intent, effects in held.items():
        if len(effects) > 1:
            raise ViolationError(Rule.ONE_HOLD, f"{intent} was held by {sorted(effects)}")


def _check_store(world: "World", number: int) -> None:
    process = world.slots[number].process
    assert process is not None
    rows = process.store.snapshot()
    for partition in sorted(process.loop.partitions):
        told = {key: value for key, value in rows.get(partition, {}).items() if key[0] in _WHOLE}
        wanted: dict[tuple[str, bytes], bytes] = {}
        for topic in _WHOLE:
            for record in world.kafka.read(topic, partition):
                wanted[topic, record.key or b""] = record.value or b""
        if told != wanted:
            differing = sorted(
                key for key in told.keys() | wanted.keys() if told.get(key) != wanted.get(key)
            )
            raise ViolationError(
                Rule.STORE, f"{process.name}, partition {partition}: {differing[:4]} differ"
            )
        for tenant in world.auditor.model.tenants.values():
            if partition_of(tenant.name, world.partitions) == partition:
                _check_look_ups(world, tenant, rows.get(partition, {}), process.name)


def _check_look_ups(
    world: "World", tenant: Tenant, rows: dict[tuple[str, bytes], bytes], name: str
) -> None:
    """Answers within the window, the nonces they spent, and what is due: what no topic has under these keys."""
    oldest = world.kafka.clock() - WINDOW
    kept = {f"{tenant.name}/{one.command_id}": one for one in tenant.stored.values()}
    for one in tenant.beside.values():
        kept[f"{tenant.name}/{one.command_id}/{one.input_hash.hex()}"] = one
    for key, stored in kept.items():
        if stored.recorded_at <= oldest:
            continue
        if rows.get((OUTCOMES, key.encode())) != world.auditor.answers.last_value(key.encode()):
            raise ViolationError(Rule.STORE, f"{name}: the answer {key}")
        if stored.nonce is not None:
            key_id, nonce = stored.nonce
            spent = f"{tenant.name}/{len(key_id)}/{key_id}/{nonce}".encode()
            if rows.get((NONCE, spent)) is None:
                raise ViolationError(Rule.STORE, f"{name}: {nonce} is not spent")
    due = {key.split(b"/", 1)[1].decode() for space, key in rows if space == DUE}
    for intent in tenant.intents.values():
        is_waiting = not intent.is_final and intent.status != "disputed"
        if is_waiting and f"{tenant.name}/{intent.intent_id}" not in due:
            raise ViolationError(Rule.STORE, f"{name}: nobody looks after {intent.intent_id}")
