"""A second listener of the one node, on which every client says who it is, and the ACLs decide what it may do.

The first listener stays as it was: there everybody is ANONYMOUS, a super user, and plays the cluster's administrator.
A SASL user is nobody's super user, so whatever no ACL allows is refused (StandardAuthorizer's default).
"""

_LISTENER = "CLIENTS"
_MECHANISM = "SCRAM-SHA-512"


def with_sasl_listener(properties: str, *, port: int) -> str:
    """The node's properties with a SCRAM listener on loopback; raises ValueError where a line to extend is missing."""
    address = f"{_LISTENER}://127.0.0.1:{port}"
    added = {
        "listeners": address,
        "advertised.listeners": address,
        "listener.security.protocol.map": f"{_LISTENER}:SASL_PLAINTEXT",
    }
    lines = properties.splitlines()
    for name, value in added.items():
        at = next((i for i, line in enumerate(lines) if line.startswith(f"{name}=")), None)
        if at is None:
            raise ValueError(f"the properties have no {name} to extend")
        lines[at] += f",{value}"
    prefix = f"listener.name.{_LISTENER.lower()}"
    login = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
    return "\n".join(
        [
            *lines,
            f"{prefix}.sasl.enabled.mechanisms={_MECHANISM}",
            f"{prefix}.{_MECHANISM.lower()}.sasl.jaas.config={login}",
            "",
        ]
    )
