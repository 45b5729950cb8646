"""What a test says to a local stack's gateway, as the demo's client says it."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from typing import TypeVar

import httpx

from deploy.local.demo import client_of
from deploy.local.demo_client import DemoClient
from deploy.local.demo_plan import PlannedIntent, Story, plan_of
from deploy.local.local_file import tenant_of
from tests.e2e.local_stack import LocalStack

Result = TypeVar("Result")


def talk(
    stack: LocalStack,
    conversation: Callable[[DemoClient], Awaitable[Result]],
    *,
    second_tenant: bool = False,
) -> Result:
    document = stack.local_file()
    access = document["second_tenant"] if second_tenant else document

    async def main() -> Result:
        async with httpx.AsyncClient(
            base_url=document["base_url"], timeout=30, trust_env=False
        ) as http:
            return await conversation(client_of(http, tenant_of(access)))

    return asyncio.run(main())


def planned(story: Story) -> PlannedIntent:
    plan = plan_of(seed=secrets.randbelow(10**9), intents=len(Story))
    return next(one for one in plan if one.story is story)
