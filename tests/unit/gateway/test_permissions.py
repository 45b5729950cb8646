"""Roles are sets of permissions; a principal is shown the roles it wholly holds."""

from gateway.auth.permissions import ALL, ROLES, Permission, roles_of


def test_an_admin_holds_every_permission() -> None:
    assert ROLES["tenant_admin"] == ALL
    assert roles_of(ALL)[0] == "tenant_admin"


def test_an_analyst_can_change_nothing() -> None:
    assert ROLES["analyst"] == {Permission.INTENT_READ, Permission.LEDGER_READ}


def test_a_role_of_which_one_permission_is_missing_is_not_held() -> None:
    held = ROLES["harbor.write"] - {Permission.INTENT_FUND}

    assert "harbor.write" not in roles_of(held)
    assert "harbor.read" in roles_of(held)


def test_only_operators_and_admins_resolve_disputes() -> None:
    resolvers = {name for name, held in ROLES.items() if Permission.DISPUTE_RESOLVE in held}

    assert resolvers == {"tenant_admin", "operator"}
