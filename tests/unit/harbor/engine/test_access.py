"""Nobody but Harbor writes a ledger, and a tenant reads its own by its whole name."""

from harbor.engine.access import (
    Grant,
    Resource,
    Right,
    principal_of,
    program_grants,
    tenant_grants,
)
from schemas.ids import TenantId
from schemas.topics import COMMANDS, LEDGER_PREFIX, TOPICS, Program


def who_may(right: Right, name: str) -> set[str]:
    return {
        grant.principal for grant in program_grants() if grant.right is right and grant.name == name
    }


def test_only_harbor_writes_ledgers() -> None:
    assert who_may(Right.WRITE, LEDGER_PREFIX) == {principal_of(Program.HARBOR)}


def test_only_harbor_reads_commands() -> None:
    assert who_may(Right.READ, COMMANDS) == {principal_of(Program.HARBOR)}


def test_a_tenant_is_granted_its_own_ledger_by_its_whole_name() -> None:
    grants = tenant_grants(TenantId("acme"), principal="User:acme-data")

    assert set(grants) == {
        Grant(
            principal="User:acme-data",
            right=right,
            resource=Resource.TOPIC,
            name="paybond.ledger.acme",
            is_prefix=False,
        )
        for right in (Right.READ, Right.DESCRIBE)
    }


def test_no_right_is_listed_twice() -> None:
    grants = program_grants()

    assert len(grants) == len(set(grants))


def test_a_grant_reads_as_a_sentence() -> None:
    grant = tenant_grants(TenantId("acme"), principal="User:acme-data")[0]

    assert str(grant) == "User:acme-data may read topic paybond.ledger.acme (literal)"


def test_a_reader_outside_any_group_may_find_its_coordinator_and_join_nothing() -> None:
    readers = {
        (grant.principal, grant.right)
        for grant in program_grants()
        if grant.resource is Resource.GROUP and grant.is_prefix
    }

    assert readers == {(principal_of(program), Right.DESCRIBE) for program in Program}


def test_whoever_holds_the_cluster_to_the_table_may_describe_all_of_it() -> None:
    checkers = {principal_of(Program.HARBOR), principal_of(Program.CLI)}

    for name in (*(spec.name for spec in TOPICS), LEDGER_PREFIX):
        assert checkers <= who_may(Right.DESCRIBE, name)
        assert checkers <= who_may(Right.DESCRIBE_CONFIGS, name)
