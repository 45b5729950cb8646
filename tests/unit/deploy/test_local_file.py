"""The local file's members, mode and keys are what people and tests were promised."""

import json
import stat
from pathlib import Path

import pytest

from deploy.local.local_file import (
    LocalAddresses,
    TenantAccess,
    document_of,
    first_tenant,
    read_local_file,
    second_tenant,
    tenant_of,
    write_local_file,
)
from schemas.canonical import ed25519
from schemas.errors import ConfigurationError
from schemas.ledger.signed_note import parse_vkey

VECTORS = Path(__file__).parents[2] / "vectors" / "vectors.json"
LEDGER_KEY = ed25519.public_key(b"\x07" * 32)

TENANT_MEMBERS = {
    "tenant_id",
    "api_key",
    "agent_key_id",
    "agent_seed_hex",
    "principal_seed_hex",
    "payee_seed_hex",
    "principal_did",
    "payee_did",
    "refund_predicate",
    "checkpoint_vkey",
}


def a_first_tenant() -> TenantAccess:
    return first_tenant(api_key="key-one", deployment="local", ledger_public_key=LEDGER_KEY)


def a_second_tenant() -> TenantAccess:
    return second_tenant(
        api_key="key-two",
        agent_seed=b"\x01" * 32,
        principal_seed=b"\x02" * 32,
        payee_seed=b"\x03" * 32,
        deployment="local",
        ledger_public_key=LEDGER_KEY,
    )


def a_document() -> dict[str, object]:
    addresses = LocalAddresses(
        base_url="http://127.0.0.1:1",
        metrics_urls={"gateway": "http://127.0.0.1:2/metrics"},
        kafka_bootstrap="127.0.0.1:3",
        postgres_dsn="host=127.0.0.1",
        registry_url="http://127.0.0.1:2",
    )
    return document_of(addresses, first=a_first_tenant(), second=a_second_tenant())


def test_the_file_has_exactly_the_promised_members() -> None:
    document = a_document()

    assert set(document) == TENANT_MEMBERS | {
        "base_url",
        "console_url",
        "metrics_urls",
        "kafka_bootstrap",
        "postgres_dsn",
        "registry_url",
        "other_api_key",
        "second_tenant",
    }
    second = document["second_tenant"]
    assert isinstance(second, dict)
    assert set(second) == TENANT_MEMBERS


def test_the_other_api_key_is_the_second_tenants_and_there_is_no_console_yet() -> None:
    document = a_document()

    assert document["other_api_key"] == "key-two"
    assert document["console_url"] is None


def test_the_first_tenant_acts_with_the_keys_of_the_published_vectors() -> None:
    vectors = json.loads(VECTORS.read_text())
    intent, proof = vectors["intent_v6"], vectors["recognition_proof"]

    tenant = a_first_tenant()

    assert tenant.tenant_id == intent["tenant_id"]
    assert tenant.principal_seed.hex() == intent["principal_seed_hex"]
    assert tenant.payee_seed.hex() == intent["payee_seed_hex"]
    assert tenant.principal_did == intent["body"]["principal_did"]
    assert tenant.payee_did == intent["body"]["payee_did"]
    assert tenant.agent_seed.hex() == proof["agent_seed_hex"]
    assert tenant.agent_key_id == proof["proof"]["key_id"]
    assert tenant.agent_public_key.hex() == proof["proof"]["signing_public_key_ed25519_hex"]


def test_the_verifier_key_is_named_for_its_own_tenants_ledger() -> None:
    first = parse_vkey(a_first_tenant().checkpoint_vkey)
    second = parse_vkey(a_second_tenant().checkpoint_vkey)

    assert (first.name, second.name) == ("paybond/local/tenant-vec", "paybond/local/tenant-two")
    assert first.public_key == second.public_key == LEDGER_KEY


def test_the_tenants_share_no_did_and_no_key() -> None:
    first, second = a_first_tenant(), a_second_tenant()

    assert not {first.principal_did, first.payee_did} & {second.principal_did, second.payee_did}
    assert first.agent_key_id != second.agent_key_id


def test_the_file_is_nobody_elses_to_read_and_comes_back_as_written(tmp_path: Path) -> None:
    path = tmp_path / ".paybond" / "local.json"

    write_local_file(path, a_document())

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    document = read_local_file(path)
    assert tenant_of(document) == a_first_tenant()
    assert tenant_of(document["second_tenant"]) == a_second_tenant()


@pytest.mark.parametrize("content", [None, "{", "[]"])
def test_a_missing_or_broken_file_is_refused_with_what_to_do(
    tmp_path: Path, content: str | None
) -> None:
    path = tmp_path / "local.json"
    if content is not None:
        path.write_text(content)

    with pytest.raises(ConfigurationError):
        read_local_file(path)


def test_a_member_that_lacks_is_named() -> None:
    document = a_first_tenant().document()
    del document["agent_seed_hex"]

    with pytest.raises(ConfigurationError, match="agent_seed_hex"):
        tenant_of(document)


def test_a_seed_that_is_no_hex_is_refused() -> None:
    document = a_first_tenant().document() | {"payee_seed_hex": "zz"}

    with pytest.raises(ConfigurationError):
        tenant_of(document)
