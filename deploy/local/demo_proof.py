"""Ledger entries seen from outside: their records on Kafka, and an inclusion proof checked by a script of its own.

The script is run as `python -I -S` in an empty environment: the standard library and one trusted key are all it has.
"""

import asyncio
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, TopicPartition

from deploy.local.demo_client import DemoClient
from schemas.canonical import base64_strict
from schemas.errors import BrokerUnavailableError, ConfigurationError
from schemas.ids import TenantId
from schemas.messages.avro_codec import decode_as
from schemas.messages.events import LedgerEntry
from schemas.topics import ledger_topic

_CHECKPOINT_TRIES = 50
_CHECKPOINT_PAUSE_SECONDS = 0.2
_KAFKA_SECONDS_MAX = 15.0
_SCRIPT_SECONDS_MAX = 30.0
_SCRIPT_NAME: Final = "verify_inclusion.py"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """As the gateway shows it; `value` is the record's exact bytes."""

    seq: int
    event_type: str
    value: bytes

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> "Entry":
        return cls(
            seq=int(document["seq"]),
            event_type=str(document["event_type"]),
            value=base64_strict.decode(str(document["value_b64"]), what="value_b64"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerRecord:
    offset: int
    value: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class ProofCheck:
    """What the script said of the true entry, and whether it refused one with a changed byte."""

    command: str
    output: str
    is_accepted: bool
    is_forgery_refused: bool

    @property
    def is_good(self) -> bool:
        return self.is_accepted and self.is_forgery_refused


def read_from_kafka(bootstrap: str, tenant_id: TenantId) -> Mapping[int, LedgerRecord]:
    """Every record of a tenant's ledger topic by seq, as any consumer sees them. Raises BrokerUnavailableError."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "paybond-demo-unused",
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
            "auto.offset.reset": "error",
            "log_level": 0,
        }
    )
    found: dict[int, LedgerRecord] = {}
    try:
        consumer.assign([TopicPartition(ledger_topic(tenant_id), 0, OFFSET_BEGINNING)])
        while True:
            message = consumer.poll(_KAFKA_SECONDS_MAX)
            if message is None:
                raise BrokerUnavailableError(f"no record after {_KAFKA_SECONDS_MAX:g} s")
            error = message.error()
            if error is not None and error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001
                return found
            if error is not None:
                raise BrokerUnavailableError(str(error))
            value, offset = message.value(), message.offset()
            assert isinstance(value, bytes)
            assert offset is not None
            entry = decode_as(LedgerEntry, value)
            found[entry.seq] = LedgerRecord(offset=offset, value=value)
    finally:
        consumer.close()


async def check_proof(client: DemoClient, entry: Entry) -> ProofCheck | None:
    """Fetch the entry's proof against the newest checkpoint and have the script judge it; None without the script."""
    text = await _proof(client, entry.seq)
    script = Path(__file__).parents[2] / "docs" / "examples" / _SCRIPT_NAME
    if not script.is_file():
        # An installed package has no documentation beside it; a checkout has.
        return None
    return await asyncio.to_thread(
        _judge, text, entry=entry, vkey=client.tenant.checkpoint_vkey, script=script
    )


async def _proof(client: DemoClient, seq: int) -> str:
    # The newest entry is in the newest checkpoint within moments, not at once.
    said = ""
    for _ in range(_CHECKPOINT_TRIES):
        answer = await client.get("/harbor/ledger/v1/proof/inclusion", parameters={"seq": seq})
        if answer.status == 200:
            return answer.text
        said = answer.text
        await asyncio.sleep(_CHECKPOINT_PAUSE_SECONDS)
    raise ConfigurationError(f"no checkpoint has entry {seq}: {said}")


def _judge(proof: str, *, entry: Entry, vkey: str, script: Path) -> ProofCheck:
    with tempfile.TemporaryDirectory(prefix="paybond-demo-") as name:
        folder = Path(name)
        (folder / "proof.json").write_text(proof)
        (folder / "entry.bin").write_bytes(entry.value)
        forged = bytearray(entry.value)
        forged[-1] ^= 1
        (folder / "forged.bin").write_bytes(forged)
        arguments = ["proof.json", "--vkey", vkey, "--seq", str(entry.seq), "--entry"]
        good = _run(script, [*arguments, "entry.bin"], folder)
        bad = _run(script, [*arguments, "forged.bin"], folder)
    return ProofCheck(
        command=f"python -I -S {script.name} {' '.join(arguments)} entry.bin",
        output=(good.stdout + good.stderr).strip(),
        is_accepted=good.returncode == 0,
        is_forgery_refused=bad.returncode == 1,
    )


def _run(script: Path, arguments: list[str], folder: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-I", "-S", str(script), *arguments],
        check=False,
        capture_output=True,
        text=True,
        cwd=folder,
        env={},
        timeout=_SCRIPT_SECONDS_MAX,
    )
