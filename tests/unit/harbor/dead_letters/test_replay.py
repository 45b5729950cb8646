"""A replay is the same bytes through the same door: nothing is decided twice, late, for another, or without its MAC."""

import asyncio
import hashlib
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

import pytest

from harbor.adapters.memory.ports import MemoryLogReader
from harbor.dead_letters.reading import Letter, read_letters
from harbor.dead_letters.replay import (
    Replayed,
    disposition_of,
    replay,
    why_not_replay,
    write_disposition,
)
from harbor.dead_letters.standing import (
    LetterStanding,
    decided_before,
    letters_with_standing,
    standing_of,
    why_not_discard,
)
from harbor.engine.provisioning import Operator
from schemas.errors import BrokerUnavailableError
from schemas.ids import TenantId
from schemas.messages.avro_codec import encode
from schemas.messages.command_sealing import seal
from schemas.messages.commands import Command, Issuer, OpenDispute
from schemas.messages.operations import DeadLetter, LetterAction
from schemas.messages.outcomes import OutcomeStatus
from schemas.partitioner import partition_of
from schemas.topics import DEAD_LETTERS, GROUP_RAILS
from tests.support.builders import TENANT, a_command
from tests.support.harbor_world import ISSUER_KEYS, PARTITIONS, HarborWorld, run
from tests.unit.harbor.engine.test_life_of_an_intent import CREATE, FUND, PROVISION, funded

ELSEWHERE = (partition_of(TENANT, PARTITIONS) + 1) % PARTITIONS
OPERATOR = Operator(ref="operator")
REASON = "the producer was fixed"


class Sender:
    """`RecordSender` of the memory broker."""

    def __init__(self, world: HarborWorld) -> None:
        self._world = world
        self.topics: list[str] = []

    async def produce(
        self, topic: str, *, key: bytes, value: bytes, headers: Mapping[str, bytes], partition: int
    ) -> None:
        self.topics.append(topic)
        self._world.kafka.append(topic, partition, key=key, value=value, headers=headers)


def reader_of(world: HarborWorld) -> MemoryLogReader:
    return MemoryLogReader(world.kafka, process="operator")


async def letters(world: HarborWorld) -> list[Letter]:
    return list((await read_letters(reader_of(world), partitions=PARTITIONS)).values())


async def buried(world: HarborWorld, command: Command) -> Letter:
    """What becomes of a good command that somebody wrote into another partition."""
    world.send_value(command, seal(command, ISSUER_KEYS[command.issuer][0]), partition=ELSEWHERE)
    await world.decide()
    (letter,) = [one for one in await letters(world) if one.letter.partition == ELSEWHERE]
    return letter


async def judged(world: HarborWorld, letter: Letter) -> str | None:
    decided = await decided_before(reader_of(world), letter, partitions=PARTITIONS)
    return why_not_replay(letter, decided=decided, now=world.clock.now())


async def sent_again(
    world: HarborWorld, letter: Letter, *, in_doubt: TenantId | None = None
) -> Replayed:
    """Without the judge: what Harbor itself makes of the bytes, while it may doubt a tenant."""
    process = world.process("again")
    if in_doubt is not None:
        process.assigner.in_doubt[in_doubt] = "a test"
    await process.loop.start()

    async def deciding() -> None:
        while True:
            await process.loop.turn()
            await asyncio.sleep(0)

    harbor = asyncio.create_task(deciding())
    try:
        return await replay(
            letter,
            reader=reader_of(world),
            sender=Sender(world),
            clock=world.clock,
            partitions=PARTITIONS,
            wait=timedelta(seconds=20),
        )
    finally:
        harbor.cancel()
        await asyncio.gather(harbor, return_exceptions=True)
        await process.loop.stop()


def test_a_letter_is_decided_once_by_its_replay() -> None:
    async def scenario() -> None:
        world = HarborWorld()
        await world.decide(PROVISION, CREATE)
        letter = await buried(world, FUND)
        assert await judged(world, letter) is None

        replayed = await sent_again(world, letter)

        assert replayed.outcome is not None
        assert replayed.outcome.status is OutcomeStatus.ACCEPTED
        assert world.events()[-1] == "settlement_rail_requested"
        assert "decided since: accepted" in (await judged(world, letter) or "")
        world.assert_whole()

    run(scenario)


def test_a_replay_that_is_sent_twice_asks_the_rail_once() -> None:
    async def scenario() -> None:
        world = HarborWorld()
        await world.decide(PROVISION, CREATE)
        letter = await buried(world, FUND)
        first = await sent_again(world, letter)
        second = await sent_again(world, letter)

        assert first.outcome == second.outcome
        assert world.events().count("settlement_rail_requested") == 1
        assert len(world.effects()) == 1

    run(scenario)


def test_a_letter_that_outlived_harbors_memory_is_not_sent() -> None:
    async def scenario() -> None:
        world = HarborWorld()
        await funded(world)
        letter = await buried(world, a_command(OpenDispute(reason_code="quality"), number=20))
        world.clock.advance(timedelta(hours=23))
        in_time = await judged(world, letter)
        world.clock.advance(timedelta(hours=1))

        assert in_time is None
        assert "too old" in (await judged(world, letter) or "")

    run(scenario)


def test_a_command_that_was_decided_is_not_sent_however_long_ago_that_was() -> None:
    """Its outcome is out of Harbor's look-up, and a withdrawn dispute would be opened again."""

    async def scenario() -> None:
        world = HarborWorld()
        await funded(world)
        command = a_command(OpenDispute(reason_code="quality"), number=20)
        await world.decide(command)
        world.clock.advance(timedelta(hours=30))
        letter = await buried(world, command)

        assert "decided since: done" in (await judged(world, letter) or "")

    run(scenario)


def test_a_replay_after_its_time_is_refused_by_the_judge_and_by_harbor() -> None:
    async def scenario() -> None:
        world = HarborWorld()
        await world.decide(PROVISION, CREATE)
        late = replace(FUND, not_after=world.clock.now() + timedelta(minutes=10))
        letter = await buried(world, late)
        world.clock.advance(timedelta(minutes=11))
        refused = await judged(world, letter)
        replayed = await sent_again(world, letter)

        assert "not_after" in (refused or "")
        assert replayed.outcome is not None
        assert replayed.outcome.refusal is not None
        assert replayed.outcome.refusal.code == "command_expired"
        assert world.effects() == []

    run(scenario)


def test_a_quarantined_tenants_letter_is_answered_so_and_may_be_sent_again_later() -> None:
    async def scenario() -> None:
        world = HarborWorld()
        await world.decide(PROVISION, CREATE)
        letter = await buried(world, FUND)
        replayed = await sent_again(world, letter, in_doubt=TENANT)

        assert replayed.outcome is not None
        assert replayed.outcome.status is OutcomeStatus.RETRY
        assert world.effects() == []
        assert await judged(world, letter) is None
        assert (await sent_again(world, letter)).outcome is not None
        assert len(world.effects()) == 1

    run(scenario)


def test_bytes_with_a_wrong_mac_are_refused_and_buried_again_if_they_are_sent() -> None:
    async def scenario() -> None:
        world = HarborWorld()
        await world.decide(PROVISION, CREATE)
        world.send_value(FUND, seal(FUND, b"\x66" * 32))
        await world.decide()
        (letter,) = await letters(world)
        refused = await judged(world, letter)
        # A letter that somebody forged lies about its reason; what Harbor checks is the bytes.
        forged = replace(letter, letter=replace(letter.letter, reason="crashed_decide: a test"))
        allowed = await judged(world, forged)
        replayed = await sent_again(world, forged)

        assert "issuer_mac_wrong" in (refused or "")
        assert allowed is None
        assert replayed.outcome is None
        assert (replayed.buried_again or "").startswith("issuer_mac_wrong")
        assert world.effects() == []
        assert world.outcomes(FUND) == []

    run(scenario)


def test_a_letter_can_move_no_other_tenants_money() -> None:
    """The tenant is in the bytes, under the MAC: what a letter says beside them counts for nothing."""

    async def scenario() -> None:
        world = HarborWorld()
        await world.decide(PROVISION, CREATE)
        letter = await buried(world, FUND)
        lying = replace(letter, letter=replace(letter.letter, tenant_id="tenant-two"))
        replayed = await sent_again(world, lying)

        assert replayed.outcome is not None
        assert replayed.outcome.tenant_id == TENANT
        assert {effect.tenant_id for effect in world.effects()} == {TENANT}

    run(scenario)


def test_nobody_hearing_is_an_outage_not_a_success() -> None:
    async def scenario() -> None:
        world = HarborWorld()
        await world.decide(PROVISION, CREATE)
        letter = await buried(world, FUND)

        with pytest.raises(BrokerUnavailableError):
            await replay(
                letter,
                reader=reader_of(world),
                sender=Sender(world),
                clock=world.clock,
                partitions=PARTITIONS,
                wait=timedelta(seconds=1),
            )

    run(scenario)


async def disposed(world: HarborWorld, letter: Letter, action: LetterAction) -> Letter:
    disposition = disposition_of(
        letter, action, reason=REASON, operator=OPERATOR, now=world.clock.now()
    )
    await write_disposition(Sender(world), disposition, partitions=PARTITIONS)
    (found,) = await letters(world)
    assert found.dispositions[-1] == disposition
    return found


async def standing(world: HarborWorld) -> LetterStanding:
    """Of the one letter, as it is listed."""
    ((_, found),) = await letters_with_standing(
        reader_of(world), partitions=PARTITIONS, now=world.clock.now()
    )
    return found


def test_a_discard_lies_beside_its_letter_and_closes_it() -> None:
    async def scenario() -> None:
        world = HarborWorld()
        await world.decide(PROVISION, CREATE)
        letter = await buried(world, FUND)
        before = await standing(world)
        closed = await disposed(world, letter, LetterAction.DISCARD)
        (disposition,) = closed.dispositions

        assert before.is_open
        assert await standing(world) is LetterStanding.DISCARDED
        assert closed.dispositions == (disposition,)
        assert (disposition.tenant_id, disposition.command_id) == (TENANT, FUND.command_id)
        assert await judged(world, closed) == "it was discarded"
        lying = {r.key for r in world.kafka.read_all(DEAD_LETTERS)}
        assert lying == {letter.letter_id.encode()}

    run(scenario)


def test_a_replay_that_was_never_sent_leaves_its_letter_open() -> None:
    async def scenario() -> None:
        world = HarborWorld()
        await world.decide(PROVISION, CREATE)
        await disposed(world, await buried(world, FUND), LetterAction.REPLAY)
        found = await standing(world)

        assert found.is_open
        assert found == "replayed, undecided"

    run(scenario)


def test_a_replay_that_is_to_be_sent_again_leaves_its_letter_open_until_it_is_decided() -> None:
    async def scenario() -> None:
        world = HarborWorld()
        await world.decide(PROVISION, CREATE)
        letter = await disposed(world, await buried(world, FUND), LetterAction.REPLAY)
        await sent_again(world, letter, in_doubt=TENANT)
        before = await standing(world)
        await sent_again(world, letter)
        after = await standing(world)

        assert before is LetterStanding.UNDECIDED
        assert after is LetterStanding.DECIDED
        assert not after.is_open

    run(scenario)


def test_a_letter_whose_replay_was_decided_is_not_discarded_and_says_so_before_all_else() -> None:
    async def scenario() -> None:
        world = HarborWorld()
        await world.decide(PROVISION, CREATE)
        letter = await disposed(world, await buried(world, FUND), LetterAction.REPLAY)
        await sent_again(world, letter)
        decided = await decided_before(reader_of(world), letter, partitions=PARTITIONS)
        refused = why_not_discard(await standing(world), decided=decided)
        # As an earlier release took it.
        discarded = await disposed(world, letter, LetterAction.DISCARD)

        assert refused == "it was replayed and decided since: accepted"
        assert await judged(world, discarded) == "it was decided since: accepted"
        assert await standing(world) is LetterStanding.DECIDED

    run(scenario)


def test_a_letter_whose_command_was_repeated_by_its_sender_may_be_discarded() -> None:
    """It can't be replayed, so it must be possible to close it."""

    async def scenario() -> None:
        world = HarborWorld()
        await world.decide(PROVISION, CREATE)
        letter = await buried(world, FUND)
        await world.decide(FUND)
        decided = await decided_before(reader_of(world), letter, partitions=PARTITIONS)

        assert decided is not None
        assert (await standing(world)).is_open
        assert why_not_discard(await standing(world), decided=decided) is None

    run(scenario)


def test_a_replay_older_than_outcomes_are_kept_says_that_nobody_knows() -> None:
    async def scenario() -> None:
        world = HarborWorld()
        await world.decide(PROVISION, CREATE)
        letter = await disposed(world, await buried(world, FUND), LetterAction.REPLAY)
        at = world.clock.now()
        week = timedelta(days=7)

        assert standing_of(letter, decided=None, now=at + week) is LetterStanding.UNDECIDED
        late = standing_of(letter, decided=None, now=at + week + timedelta(seconds=1))
        assert late is LetterStanding.FORGOTTEN
        assert late.is_open

    run(scenario)


def a_letter(**changes: object) -> Letter:
    value = seal(FUND, ISSUER_KEYS[Issuer.GATEWAY][0])
    base = DeadLetter(
        group="paybond-harbor",
        topic="paybond.commands",
        partition=1,
        offset=7,
        reason="wrong_partition: issuer gateway",
        attempts=1,
        recorded_at=HarborWorld().clock.now(),
        tenant_id=None,
        command_id=None,
        key=b"tenant-one",
        value=value,
        value_digest=hashlib.sha256(value).digest(),
    )
    return Letter(letter=replace(base, **changes), buried_at=base.recorded_at)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("letter", "why"),
    [
        (a_letter(group=GROUP_RAILS, topic="paybond.effects"), "only commands"),
        (a_letter(group="paybond-views"), "only commands"),
        (a_letter(value=None), "too large"),
        (a_letter(value=b"other bytes"), "not those whose digest"),
        (a_letter(reason="ids_malformed: issuer gateway"), "ids_malformed"),
        (a_letter(reason="issuer_type_not_allowed: issuer rails"), "issuer_type_not_allowed"),
    ],
)
def test_what_a_replay_cannot_make_right_is_refused(letter: Letter, why: str) -> None:
    told = why_not_replay(letter, decided=None, now=letter.buried_at)

    assert why in (told or "")


def test_what_is_still_not_readable_is_refused() -> None:
    letter = a_letter(value=b"\x00junk", value_digest=hashlib.sha256(b"\x00junk").digest())

    assert "still can't be decoded" in (
        why_not_replay(letter, decided=None, now=letter.buried_at) or ""
    )


def test_nonsense_on_the_topic_hides_no_letter() -> None:
    async def scenario() -> None:
        world = HarborWorld()
        await world.decide(PROVISION, CREATE)
        world.kafka.append(DEAD_LETTERS, 0, key=b"k", value=b"nonsense")
        await buried(world, FUND)

        assert len(await letters(world)) == 1
        assert encode((await letters(world))[0].letter)

    run(scenario)
