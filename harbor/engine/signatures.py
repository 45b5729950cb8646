"""Step 2, the costly part: principals' and payees' signatures are verified in a pool, ahead of the serial decision."""

from collections.abc import Mapping, Sequence

from harbor.domain.consent import consent_of, signature_wanted
from harbor.domain.decision import Consent
from harbor.engine.intake import Place, Received, place_of
from harbor.engine.ports import SignaturePool, SignatureTask
from schemas.canonical import ed25519
from schemas.errors import InputError


async def consents_of(commands: Sequence[Received], pool: SignaturePool) -> Mapping[Place, Consent]:
    """Per command that carries a signature what it consents to; None where no candidate verified."""
    signed: list[Received] = []
    tasks: list[SignatureTask] = []
    for received in commands:
        wanted = signature_wanted(received.command)
        if wanted is None:
            continue
        signed.append(received)
        tasks.append(
            SignatureTask(
                public_key=wanted.public_key,
                signature=wanted.signature,
                candidates=wanted.candidates,
            )
        )
    if not tasks:
        return {}
    verdicts = await pool.verify_each(tasks)
    return {
        place_of(received): consent_of(received.command, verdict)
        for received, verdict in zip(signed, verdicts, strict=True)
    }


def verify_one(task: SignatureTask) -> int | None:
    """The index of the first candidate that the signature covers. What a pool runs, on whatever thread."""
    try:
        for index, message in enumerate(task.candidates):
            if ed25519.verify(task.public_key, message, task.signature):
                return index
    except InputError:
        # The next spelling can't be made from what was sent: nobody can have signed it.
        return None
    return None
