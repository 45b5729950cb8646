"""Signatures verified where they are asked for: deterministic, and fast enough for a simulator."""

from collections.abc import Sequence

from harbor.adapters.memory.ports import Hook, PortCall, When, let_others_run
from harbor.engine.ports import SignatureTask
from harbor.engine.signatures import verify_one


class MemorySignaturePool:
    def __init__(self, *, process: str = "signatures", hook: Hook = let_others_run) -> None:
        self._process = process
        self._hook = hook

    async def verify_each(self, tasks: Sequence[SignatureTask]) -> list[int | None]:
        call = "signatures.verify_each"
        await self._hook(PortCall(process=self._process, call=call, when=When.BEFORE))
        return [verify_one(task) for task in tasks]
