"""An operator with kr8s: the balance of an Account is the sum of its Deposits.

``Hasty`` adds each deposit to the balance and then marks it as counted. It works, test after test, until the answer to
one write is lost or the operator dies between its two: then a deposit counts twice. ``Ledger`` looks at all deposits
and writes down their sum, however often it is asked. See how test_ledger.py finds the difference.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import httpx
import kr8s
from kr8s.asyncio.objects import new_class

GROUP = "bank.example.com"
Account = new_class("Account.bank.example.com", "bank.example.com/v1", namespaced=True)
Deposit = new_class("Deposit.bank.example.com", "bank.example.com/v1", namespaced=True)

#: What a request may end with that is no bug of ours: everything is looked at anew.
PASSING = (kr8s.ServerError, kr8s.NotFoundError, kr8s.APITimeoutError, kr8s.ConnectionClosedError, httpx.HTTPError)


class Ledger:
    """``await run()`` until it is cancelled. Every deposit of the namespace is reflected in its account."""

    def __init__(self, api: Any, namespace: str = "default") -> None:
        self.api = api
        self.namespace = namespace

    async def run(self) -> None:
        while True:
            with contextlib.suppress(*PASSING):
                async for _, deposit in self.api.async_watch(f"deposits.{GROUP}", namespace=self.namespace):
                    await self.reconcile(deposit)
            await asyncio.sleep(1)

    async def reconcile(self, deposit: Any) -> None:
        """Make the balance of the deposit's account right."""
        name = deposit.raw["spec"]["account"]
        deposits = self.api.async_get(f"deposits.{GROUP}", namespace=self.namespace)
        amounts = [each.raw["spec"]["amount"] async for each in deposits if each.raw["spec"]["account"] == name]
        await self.write_balance(name, sum(amounts))

    async def write_balance(self, name: str, balance: int) -> None:
        account = await self.account(name)
        if account.raw.get("status", {}).get("balance") != balance:
            await account.patch({"status": {"balance": balance}}, subresource="status")

    async def account(self, name: str) -> Any:
        found = [each async for each in self.api.async_get(f"accounts.{GROUP}", name, namespace=self.namespace)]
        return found[0]


class Hasty(Ledger):
    """The bug: two writes that are right only together."""

    async def reconcile(self, deposit: Any) -> None:
        if deposit.raw.get("status", {}).get("counted"):
            return
        account = await self.account(deposit.raw["spec"]["account"])
        balance = account.raw.get("status", {}).get("balance", 0)
        await self.write_balance(account.name, balance + deposit.raw["spec"]["amount"])
        await deposit.patch({"status": {"counted": True}}, subresource="status")
