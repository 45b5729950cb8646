"""Benchmarks run: with a sliver of their work, so that they do not rot between two measurements."""

import pytest

from tests.bench import gateway, harbor_kafka, harbor_memory

pytestmark = pytest.mark.integration


def test_the_loop_in_memory_is_measured_step_by_step() -> None:
    figures = list(harbor_memory.run(0.01))

    assert len(figures) == 7
    assert all(figure.value > 0 for figure in figures)


@pytest.mark.apache_only
def test_harbor_on_kafka_is_measured_beside_bare_loops() -> None:
    figures = {figure.name: figure for figure in harbor_kafka.run(0.001)}

    assert all(figure.value > 0 for figure in figures.values())
    assert "Harbor ÷ a bare transaction loop" in figures
    assert "broker's share of all processors, Harbor's turn" in figures
    assert figures["Harbor on Kafka, 8 tenants, one process"].goal is not None


def test_the_whole_system_is_measured_under_rest() -> None:
    figures = {figure.name: figure for figure in gateway.run(0.001, kafka="embedded")}

    assert all(figure.value >= 0 for figure in figures.values())
    assert str(figures["reads of one intent, 64 in flight, p99"].goal) == "< 50"
