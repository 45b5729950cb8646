"""A search that finds nothing proves nothing: each spelling and each shape is found here once."""

import base64
import json
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.canonical import ed25519
from schemas.canonical.recognition_proof import header_value, make_proof
from tests.support.log_search import Secret, search, search_files

_RAW = bytes(range(200, 232))
_KEY = Secret.of("issuer key", _RAW.hex())
_NOW = datetime(2030, 1, 2, tzinfo=UTC)
_BODY = Secret.of("evidence", 'a "quoted" canary\\ of 8 words, é')
_SIGNATURE = ed25519.sign(b"\x07" * 32, b"message")


@pytest.mark.parametrize(
    "line",
    [
        f"key={_RAW.hex()}",
        f"key={_RAW.hex().upper()}",
        f"key={_RAW!r}",
        f"key={bytearray(_RAW)!r}",
        f"key={list(_RAW)}",
        f"key={base64.b64encode(_RAW).decode()}",
        f"key={base64.urlsafe_b64encode(_RAW).decode().rstrip('=')}",
        f"key={base64.b64encode(_RAW.hex().encode()).decode()}",
        f"key={quote(_RAW)}",
    ],
)
def test_a_key_is_found_however_it_is_spelt(line: str) -> None:
    found = search(f"good\n{line}\ngood".encode(), [_KEY], source="harbor.log")

    assert any(str(finding).startswith("harbor.log:2: issuer key, ") for finding in found)


@pytest.mark.parametrize(
    "line",
    [
        _BODY.value.decode(),
        repr(_BODY.value),
        repr(_BODY.value.decode()),
        json.dumps(_BODY.value.decode()),
        json.dumps({"body": json.dumps({"note": _BODY.value.decode()})}),
    ],
)
def test_a_text_is_found_also_where_it_was_escaped(line: str) -> None:
    assert search(line.encode(), [_BODY])


@given(before=st.binary(max_size=8), after=st.binary(max_size=8))
def test_base64_of_something_with_a_key_in_it_is_found_at_every_alignment(
    before: bytes, after: bytes
) -> None:
    whole = before + _RAW + after

    assert search(base64.b64encode(whole), [_KEY])
    assert search(base64.urlsafe_b64encode(whole), [_KEY])


@pytest.mark.parametrize(
    "line",
    [
        f"paybond_sk_sandbox_{'0' * 32}_{'a' * 64}",
        f"paybond_rk_live_{'0' * 32}_{'a' * 64}",
        f"{{'authorization': 'Bearer {'t' * 24}'}}",
        "x-paybond-agent-recognition-proof: "
        + header_value(
            make_proof(
                seed=b"\x07" * 32,
                key_id="k",
                issued_at=_NOW,
                expires_at=_NOW,
                nonce="n",
                purpose="harbor.intent.fund",
                tenant_id="acme",
                method="POST",
                path="/harbor/intents",
                body=b"{}",
            )
        ),
        f"signature {base64.b64encode(_SIGNATURE).decode()}",
        f"signature {_SIGNATURE.hex()}",
        "host=127.0.0.1 user=paybond_gateway password=0123456789ab dbname=paybond",
        "postgresql://paybond_gateway:0123456789ab@127.0.0.1/paybond",
        "STATEMENT:  ALTER ROLE \"paybond_streams\" LOGIN PASSWORD '0123456789ab'",
        "-----BEGIN EC PRIVATE KEY-----",
        "sk_live_0123456789",
        "pi_3Nabc_secret_0123456789",
        '{"payee_signature": "AAAAAAAAAAAAAAAAAAAAAAAA"}',
        '{"body": "{\\"payee_signature\\":\\"AAAAAAAAAAAAAAAAAAAAAAAA\\"}"}',
    ],
)
def test_what_looks_like_a_credential_is_found_without_being_known(line: str) -> None:
    assert search(line.encode())


@pytest.mark.parametrize(
    "line",
    [
        '{"event": "partition_started", "partition": 3, "next_offset": 12, "level": "info"}',
        '{"event": "tenant_quarantined", "tenant_id": "acme", "reason": "tip: size 3, not 2"}',
        f"leaf {'ab' * 32}, root {'cd' * 32}",
        "body_invalid: payee_signature, principal_signature",
        "ALTER ROLE \"paybond_streams\" LOGIN PASSWORD 'SCRAM-SHA-256$4096:c2FsdA==$a:b'",
        "paybond/local/acme+a3e46eb3+AU6Xa/VIZMK/sOtD7/FUOops0hemhemCnOVvgX/SN+Mm",
        "http://127.0.0.1:27117/metrics",
        'FATAL:  password authentication failed for user "paybond_gateway"',
    ],
)
def test_what_logs_say_every_day_is_not_found(line: str) -> None:
    assert search(line.encode(), [_KEY, _BODY]) == []


def test_a_finding_names_its_file_and_never_says_what_it_found(tmp_path: Path) -> None:
    file = tmp_path / "gateway.log"
    file.write_bytes(b"one\ntwo " + _RAW.hex().encode() + b"\n")

    (finding,) = search_files([file], [_KEY])

    assert str(finding) == "gateway.log:2: issuer key, as it is"
