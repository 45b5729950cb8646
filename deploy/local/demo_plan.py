"""What the demo will do, as a pure function of a seed: which intents, what becomes of each, and what must come out.

Every story occurs; the rest is drawn. The expected end stands in the plan: the demo checks, it does not just show.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final
from uuid import UUID

from deploy.local.local_file import REFUND_PREDICATE


class Story(StrEnum):
    """What happens to an intent after it was funded."""

    DONE = "work done, evidence passes"
    FAILED = "work failed, evidence does not pass"
    DISPUTE_RELEASED = "disputed, resolved for the payee"
    DISPUTE_REFUNDED = "disputed, resolved for the principal"
    DISPUTE_SPLIT = "disputed, split"
    DISPUTE_ESCALATED = "disputed, handed to an outside arbiter"
    DISPUTE_WITHDRAWN = "disputed by mistake, withdrawn, released"


FINAL_STATE: Final[Mapping[Story, str]] = MappingProxyType(
    {
        Story.DONE: "released",
        Story.FAILED: "refunded",
        Story.DISPUTE_RELEASED: "released",
        Story.DISPUTE_REFUNDED: "refunded",
        Story.DISPUTE_SPLIT: "resolved_split",
        Story.DISPUTE_ESCALATED: "escalated_external",
        Story.DISPUTE_WITHDRAWN: "released",
    }
)
# Most work is done, some fails, few are disputed.
_WEIGHTS: Final[Mapping[Story, int]] = MappingProxyType(
    {
        Story.DONE: 60,
        Story.FAILED: 16,
        Story.DISPUTE_RELEASED: 5,
        Story.DISPUTE_REFUNDED: 5,
        Story.DISPUTE_SPLIT: 6,
        Story.DISPUTE_ESCALATED: 4,
        Story.DISPUTE_WITHDRAWN: 4,
    }
)
_AMOUNT_MIN, _AMOUNT_MAX = 500, 50_000
_CURRENCIES = ("usd", "usd", "eur")
_TOOLS = ("travel.search", "travel.book_hotel", "code.review", "data.label", "mail.send")

EVIDENCE_SCHEMA: Final[Mapping[str, Any]] = MappingProxyType(
    {
        "type": "object",
        "required": ["status"],
        "properties": {
            "status": {"type": "string", "enum": ["completed", "failed"]},
            "cost_cents": {"type": "integer", "minimum": 0},
        },
    }
)
# Each is fulfilled by work that was completed for no more than the amount, and by nothing that failed.
PREDICATES: Final[Sequence[Mapping[str, Any]]] = (
    REFUND_PREDICATE,
    {
        "version": 1,
        "root": {
            "op": "all",
            "clauses": [
                {"op": "matches_schema"},
                {"op": "eq", "path": ["status"], "value": "completed"},
                {"op": "lte", "path": ["cost_cents"], "value_from": "amount_cents"},
            ],
        },
    },
    {
        "version": 1,
        "root": {
            "op": "not",
            "clause": {"op": "in", "path": ["status"], "values": ["failed", "abandoned"]},
        },
    },
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedIntent:
    """`tenant` is 0 or 1: the first or the second demo tenant."""

    tenant: int
    intent_id: str
    amount_cents: int
    currency: str
    tools: tuple[str, ...]
    predicate: Mapping[str, Any]
    story: Story
    payload: Mapping[str, Any]
    payee_cents: int

    @property
    def final_state(self) -> str:
        return FINAL_STATE[self.story]

    @property
    def passes(self) -> bool:
        return self.story is not Story.FAILED

    @property
    def resolution(self) -> Mapping[str, Any] | None:
        """The body that ends the dispute; None for a story without one that is resolved."""
        match self.story:
            case Story.DISPUTE_RELEASED:
                return {"outcome": "release", "reason_code": "work_delivered"}
            case Story.DISPUTE_REFUNDED:
                return {"outcome": "refund", "reason_code": "work_not_delivered"}
            case Story.DISPUTE_SPLIT:
                return {
                    "outcome": "resolved_split",
                    "reason_code": "partly_delivered",
                    "split": {
                        "payee_cents": self.payee_cents,
                        "principal_cents": self.amount_cents - self.payee_cents,
                    },
                }
            case Story.DISPUTE_ESCALATED:
                return {
                    "outcome": "escalated_external",
                    "reason_code": "outside_arbitration",
                    "custody": "capture",
                    "external_ref": "case-2030-17",
                }
            case _:
                return None

    @property
    def is_disputed(self) -> bool:
        return self.resolution is not None or self.story is Story.DISPUTE_WITHDRAWN


def plan_of(*, seed: int, intents: int) -> tuple[PlannedIntent, ...]:
    """The same seed gives the same plan. The first intents tell one story each."""
    # Not a secret: a plan that can be repeated is the point.
    draw = random.Random(f"paybond demo {seed}")
    stories = [
        *list(Story)[:intents],
        *draw.choices(list(_WEIGHTS), list(_WEIGHTS.values()), k=max(0, intents - len(Story))),
    ]
    return tuple(_planned(draw, story, tenant=number % 2) for number, story in enumerate(stories))


def _planned(draw: random.Random, story: Story, *, tenant: int) -> PlannedIntent:
    amount = draw.randint(_AMOUNT_MIN, _AMOUNT_MAX)
    cost = draw.randint(1, amount)
    status = "failed" if story is Story.FAILED else "completed"
    return PlannedIntent(
        tenant=tenant,
        intent_id=str(UUID(int=draw.getrandbits(128), version=4)),
        amount_cents=amount,
        currency=draw.choice(_CURRENCIES),
        tools=tuple(draw.sample(_TOOLS, draw.randint(1, 3))),
        predicate=draw.choice(PREDICATES),
        story=story,
        payload={"status": status, "cost_cents": cost},
        payee_cents=draw.randint(1, amount - 1),
    )
