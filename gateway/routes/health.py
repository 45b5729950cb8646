"""Readiness of the gateway, for its private listener: every part that must work before a request can be answered."""

from collections.abc import Callable, Mapping


def readiness_of(parts: Mapping[str, Callable[[], bool]]) -> Callable[[], str | None]:
    """None = all parts work; else which do not. Each part answers at once, without I/O."""

    def reason() -> str | None:
        out = [name for name, is_working in parts.items() if not is_working()]
        return None if not out else ", ".join(out) + " not working"

    return reason
