"""The one exception by which a request ends early; its status, code and message stand in one table."""

import json
from collections.abc import Mapping

from schemas.messages.refusals import rule_of


class RefusedError(Exception):
    """A request that the gateway refuses itself. `details` = ids and limits that are safe to show."""

    def __init__(
        self,
        code: str,
        message: str | None = None,
        *,
        details: Mapping[str, object] | None = None,
        retry_after_seconds: int | None = None,
    ) -> None:
        rule = rule_of(code)
        super().__init__(message or rule.message)
        self.code = code
        self.http_status = rule.http_status
        self.details = details
        self.retry_after_seconds = retry_after_seconds


def error_body(
    *, code: str, message: str, request_id: str, details: Mapping[str, object] | None = None
) -> bytes:
    """`{"error":{"code","message","details"?},"request_id"}`, compact."""
    error: dict[str, object] = {"code": code, "message": message}
    if details:
        error["details"] = dict(details)
    document = {"error": error, "request_id": request_id}
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
