"""`paybond-harbor` as somebody types it, over a world in memory: its exit code, its answer, its talk."""

import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
from structlog.testing import capture_logs

import harbor.bootstrap
from harbor import (
    cli_dead_letters,
    cli_intents,
    cli_options,
    cli_quarantine,
    cli_rails,
    cli_waiting,
)
from harbor.adapters.memory.ports import MemoryLogReader
from harbor.cli import main
from harbor.engine.provisioning import CommandDesk, CommandSender
from schemas.errors import BrokerUnavailableError
from schemas.messages.commands import Command
from schemas.topics import COMMANDS
from tests.support.harbor_world import PARTITIONS, HarborWorld

_MODULES = (
    harbor.bootstrap,
    cli_dead_letters,
    cli_intents,
    cli_quarantine,
    cli_rails,
    cli_waiting,
)


@dataclass(frozen=True, slots=True)
class Told:
    status: int
    out: str
    talk: str


class _Reader(MemoryLogReader):
    async def close(self) -> None:
        pass


class _RecordSender:
    """`RecordSender`; a command among the records is decided at once."""

    def __init__(self, line: "CommandLine", world: HarborWorld) -> None:
        self._line = line
        self._world = world

    async def produce(
        self, topic: str, *, key: bytes, value: bytes, headers: Mapping[str, bytes], partition: int
    ) -> None:
        if topic == COMMANDS and self._line.is_input_gone:
            raise BrokerUnavailableError("the test's broker takes no command")
        self._world.kafka.append(topic, partition, key=key, value=value, headers=headers)
        if topic == COMMANDS:
            await self._world.decide()

    def close(self) -> None:
        pass


class DecidingSender:
    """Whatever is sent is decided before the sender returns."""

    def __init__(self, world: HarborWorld) -> None:
        self._world = world
        self.sent: list[Command] = []

    async def send(self, command: Command) -> None:
        self.sent.append(command)
        await self._world.decide(command)


class CommandLine:
    """Replaces what reaches Kafka; settings, checks, reading and printing are the product's."""

    def __init__(
        self,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
        world: HarborWorld,
    ) -> None:
        self._monkeypatch = monkeypatch
        self._capsys = capsys
        self._world = world
        self.sender: CommandSender = DecidingSender(world)
        self.is_input_gone = False
        for name in [name for name in os.environ if name.startswith("PAYBOND_")]:
            monkeypatch.delenv(name)
        monkeypatch.setenv("PAYBOND_KAFKA_BOOTSTRAP", "memory:1")
        monkeypatch.setenv("PAYBOND_KAFKA_PARTITIONS", str(PARTITIONS))
        # Logs are set up once per process: a test that did would do it for all others.
        monkeypatch.setattr(cli_options, "set_up_logs", lambda program: None)  # noqa: ARG005
        replaced = {
            "log_reader": self._reader,
            "command_desk": self._desk,
            "record_sender": lambda settings: _RecordSender(self, world),  # noqa: ARG005
            "SystemClock": lambda: world.clock,
        }
        for module in _MODULES:
            for name, value in replaced.items():
                if hasattr(module, name):
                    monkeypatch.setattr(module, name, value)

    def told(self, *arguments: str) -> Told:
        self._capsys.readouterr()
        self._monkeypatch.setattr(sys, "argv", ["paybond-harbor", *arguments])
        # The world's own logs are no talk of the command line.
        with capture_logs(), pytest.raises(SystemExit) as ended:
            main()
        said = self._capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return Told(status=ended.value.code, out=said.out, talk=said.err)

    def _reader(self, settings: object, *, client_id: str) -> _Reader:
        return _Reader(self._world.kafka, process=client_id)

    @asynccontextmanager
    async def _desk(self, settings: object) -> AsyncIterator[CommandDesk]:
        yield CommandDesk(
            reader=self._reader(settings, client_id="desk"),
            sender=self.sender,
            clock=self._world.clock,
            partitions=PARTITIONS,
        )
