"""The registry in Confluent's shape: what a stock deserializer asks, and what it gets for nothing."""

import asyncio
import io
import json
from typing import Any

import fastavro
import httpx
import pytest
from starlette.applications import Starlette

from gateway.routes.schema_registry import MEDIA_TYPE, ROUTES
from schemas.messages.avro_codec import HEADER_BYTES, encode, registry
from schemas.messages.operations import GatewayRow


def _get(path: str) -> httpx.Response:
    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(app=Starlette(routes=ROUTES))
        async with httpx.AsyncClient(transport=transport, base_url="http://registry") as client:
            return await client.get(path)

    return asyncio.run(ask())


def test_a_stock_deserializer_reads_a_record_with_the_schema_of_its_id() -> None:
    row = GatewayRow(
        table="api_keys", tenant_id="acme", primary_key="k", outbox_id=7, row_json='{"a":1}'
    )
    value = encode(row)
    schema_id = int.from_bytes(value[1:HEADER_BYTES], "big")

    # With the query that Confluent's own client sends.
    answer = _get(f"/schemas/ids/{schema_id}?subject=paybond.gateway.rows-value&fetchMaxId=false")

    body: Any = io.BytesIO(value[HEADER_BYTES:])
    schema = fastavro.parse_schema(json.loads(answer.json()["schema"]))
    record = fastavro.schemaless_reader(body, schema, None)
    assert answer.headers["content-type"] == MEDIA_TYPE
    assert record == {
        "table": "api_keys",
        "tenant_id": "acme",
        "primary_key": "k",
        "outbox_id": 7,
        "row_json": '{"a":1}',
    }


@pytest.mark.parametrize("row", registry(), ids=lambda row: f"{row.subject}-{row.version}")
def test_every_registered_schema_is_found_by_id_and_by_version(row: Any) -> None:
    by_id = _get(f"/schemas/ids/{row.id}").json()
    by_version = _get(f"/subjects/{row.subject}/versions/{row.version}").json()
    used_as = _get(f"/schemas/ids/{row.id}/versions").json()

    assert by_id["schema"] == row.text
    assert by_version == {
        "subject": row.subject,
        "version": row.version,
        "id": row.id,
        "schemaType": "AVRO",
        "schema": row.text,
    }
    assert used_as == [{"subject": row.subject, "version": row.version}]


def test_subjects_and_versions_are_listed_and_latest_is_the_last() -> None:
    subjects = _get("/subjects").json()

    assert subjects == sorted({row.subject for row in registry()})
    for subject in subjects:
        versions = _get(f"/subjects/{subject}/versions").json()
        latest = _get(f"/subjects/{subject}/versions/latest").json()
        assert versions == sorted(versions)
        assert latest["version"] == versions[-1]


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/schemas/ids/1", 404, 40403),
        ("/schemas/ids/x", 404, 40403),
        ("/schemas/ids/1/versions", 404, 40403),
        ("/subjects/nobody/versions", 404, 40401),
        ("/subjects/nobody/versions/1", 404, 40401),
        ("/subjects/{subject}/versions/99", 404, 40402),
        ("/subjects/{subject}/versions/0", 422, 42202),
        ("/subjects/{subject}/versions/newest", 422, 42202),
        ("/subjects/{subject}/versions/²", 422, 42202),
    ],
)
def test_what_is_not_there_has_confluents_error_code(path: str, status: int, code: int) -> None:
    answer = _get(path.format(subject=registry()[0].subject))

    assert answer.status_code == status
    assert answer.json()["error_code"] == code
    assert answer.json()["message"]


def test_avro_is_the_only_type() -> None:
    assert _get("/schemas/types").json() == ["AVRO"]
