"""The contract over HTTP, against the real gateway and the real loop in memory."""  # noqa: A005 - only ever imported by its full name
