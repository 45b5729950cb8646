"""Benchmarks run: with a sliver of their work, so that they do not rot between two measurements."""

import pytest

from tests.bench import (
    gateway,
    harbor_grown,
    harbor_kafka,
    harbor_memory,
    harbor_scale,
    indexer,
    many_tenants,
    proofs,
    transaction_flush,
)

pytestmark = pytest.mark.integration


def test_the_loop_in_memory_is_measured_step_by_step() -> None:
    figures = list(harbor_memory.run(0.01))

    assert len(figures) == 7
    assert all(figure.value > 0 for figure in figures)


@pytest.mark.apache_only
def test_harbor_on_kafka_is_measured_beside_bare_loops() -> None:
    figures = {figure.name: figure for figure in harbor_kafka.run(0.001)}

    # So little work may cost less processor time than is counted: ticks of 10 ms.
    assert all(figure.value > 0 for name, figure in figures.items() if "processor" not in name)
    assert "Harbor ÷ a bare transaction loop" in figures
    assert "broker's share of all processors, Harbor's turn" in figures
    assert figures["Harbor on Kafka, 8 tenants, one process"].goal is not None


@pytest.mark.apache_only
def test_harbor_is_measured_with_more_tenants_and_with_a_second_process() -> None:
    figures = {figure.name: figure for figure in harbor_scale.run(0.001)}

    assert str(figures["many tenants ÷ 8 tenants"].goal) == "≥ 0.4"
    assert figures["two processes ÷ one"].value > 0
    assert "second Harbor's share of all processors, two processes" in figures


@pytest.mark.apache_only
def test_harbor_is_measured_with_a_past_and_after_each_kind_of_restart() -> None:
    figures = {figure.name: figure for figure in harbor_grown.run(0.00002)}

    assert figures["intents made through commands"].value == 20
    assert figures["records restored cold"].value > 20
    goals = [str(figures[f"first answer {how}"].goal) for how in ("after SIGTERM", "cold")]
    assert goals == ["≤ 5", "≤ 75"]


@pytest.mark.apache_only
def test_the_indexer_is_measured_with_its_fence_and_without() -> None:
    figures = {figure.name: figure for figure in indexer.run(0.0005)}

    assert figures["indexer into PostgreSQL, rows and tiles"].value > 0
    assert str(figures["the fence's cost"].goal) == "≤ 5"


@pytest.mark.apache_only
def test_many_tenants_are_provisioned_and_found_again() -> None:
    figures = {figure.name: figure for figure in many_tenants.run(0.006)}

    assert figures["tenants on one broker"].value == 6
    assert figures["longest commit"].value > 0
    assert figures["indexer's time to ready"].value > 0


def test_inclusion_proofs_are_measured_through_the_gateway() -> None:
    figures = {figure.name: figure for figure in proofs.run(0.001)}

    assert figures["entries of the proofs' ledger"].value == 1_000
    assert figures["inclusion proof, one at a time, p50"].value > 0


def test_the_whole_system_is_measured_under_rest() -> None:
    figures = {figure.name: figure for figure in gateway.run(0.001, kafka="embedded")}

    assert all(figure.value >= 0 for figure in figures.values())
    assert str(figures["reads of one intent, 64 in flight, p99"].goal) == "< 50"


@pytest.mark.apache_only
def test_the_flush_of_a_transaction_is_measured_by_its_partitions() -> None:
    figures = list(transaction_flush.run(0.01))

    assert len(figures) == 6
    assert all(figure.value > 0 for figure in figures)
