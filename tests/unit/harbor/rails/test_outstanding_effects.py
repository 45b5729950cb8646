"""What the rail worker takes from the states, one partition's records after the other."""

from dataclasses import replace

from harbor.rails.outstanding_effects import OutstandingEffects
from schemas.ids import IntentId, TenantId
from schemas.messages.avro_codec import encode
from schemas.topics import intent_key
from tests.unit.harbor.recovery.test_tick import a_pending_intent

STATE = a_pending_intent(effect_id="effect-1")
KEY = intent_key(TenantId(STATE.tenant_id), IntentId(STATE.intent_id))
# Of a schema that a later release would know.
UNKNOWN = b"\0\xff\xff\xff\xff" + b"state"


def _effect(states: OutstandingEffects) -> str | None:
    return states.effect_of(tenant_id=STATE.tenant_id, intent_id=STATE.intent_id)


def test_a_record_that_can_t_be_read_puts_its_own_tenant_in_doubt_until_a_later_one_can() -> None:
    states = OutstandingEffects()

    states.take(1, key=KEY, value=encode(STATE))
    states.take(1, key=KEY, value=UNKNOWN)
    doubt, others = states.unreadable(STATE.tenant_id), states.unreadable("tenant-two")
    states.take(1, key=KEY, value=encode(replace(STATE, last_seq=STATE.last_seq + 1)))

    assert doubt is not None
    assert STATE.intent_id in doubt
    assert others is None
    assert states.unreadable(STATE.tenant_id) is None
    assert _effect(states) == "effect-1"


def test_a_partition_that_was_given_up_leaves_no_doubt_behind() -> None:
    states = OutstandingEffects()
    states.take(1, key=KEY, value=b"junk")
    states.take(1, key=KEY.replace(b"/", b"/x"), value=encode(STATE))

    states.forget(1)

    assert states.unreadable(STATE.tenant_id) is None
    assert _effect(states) is None
