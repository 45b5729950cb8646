"""What a node does first that has lived before."""

from pathlib import Path
from string import Template

import pytest

from deploy.local.apache_kafka import DEFINITION
from deploy.local.kafka_fencing import controller_properties, has_lived, is_fenced

REGISTERED = '{"type":"REGISTER_BROKER_RECORD","version":3,"data":{"brokerId":1,"fenced":true}}'
UNFENCED = '{"type":"BROKER_REGISTRATION_CHANGE_RECORD","data":{"brokerId":1,"fenced":-1}}'
FENCED = '{"type":"BROKER_REGISTRATION_CHANGE_RECORD","data":{"brokerId":1,"fenced":1}}'
OTHER = '{"type":"BROKER_REGISTRATION_CHANGE_RECORD","data":{"brokerId":1,"brokerEpoch":3}}'


def metadata_log(directory: Path) -> Path:
    log = directory / "__cluster_metadata-0" / "00000000000000000000.log"
    log.parent.mkdir()
    log.write_bytes(b"")
    return log


def test_a_node_has_lived_where_it_wrote_metadata(tmp_path: Path) -> None:
    is_new = not has_lived(tmp_path)
    metadata_log(tmp_path)

    assert is_new
    assert has_lived(tmp_path)


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        ([REGISTERED, UNFENCED], False),
        ([REGISTERED, UNFENCED, FENCED], True),
        ([REGISTERED, UNFENCED, FENCED, OTHER], True),
        ([REGISTERED, FENCED, UNFENCED, OTHER], False),
        ([], True),
    ],
)
def test_the_last_record_that_speaks_of_fencing_counts(
    records: list[str], *, expected: bool
) -> None:
    assert is_fenced(records) is expected


def test_as_a_controller_alone_a_node_listens_for_no_client() -> None:
    template = Template((DEFINITION / "server.properties").read_text())
    node = template.substitute(broker_port=1001, controller_port=1002, data_directory="/data")

    alone = controller_properties(node, controller_port=1002).splitlines()

    assert "process.roles=controller" in alone
    assert "listeners=CONTROLLER://127.0.0.1:1002" in alone
    assert "log.dirs=/data/kafka" in alone
    assert not any("1001" in line for line in alone)
    assert len({line.split("=")[0] for line in alone if "=" in line}) == sum(
        "=" in line and not line.startswith("#") for line in alone
    )
