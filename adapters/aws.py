"""A client of AWS of an adapter's own: opened and closed with it, imported only where it is used."""

from __future__ import annotations

from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Self

from bot.errors import Unavailable


class OwnClient:
    """Opens one service of AWS. Credentials are AWS's usual ones; `attempts` is how often a call is tried in all."""

    def __init__(self, service: str, region: str, url: str | None, *, timeout: float, attempts: int) -> None:
        """Open nothing yet; `timeout` in seconds bounds connecting and each read."""
        self._place = {"service_name": service, "region_name": region, "endpoint_url": url}
        self._limits = {
            "connect_timeout": min(5.0, timeout), "read_timeout": timeout, "retries": {"total_max_attempts": attempts}
        }  # fmt: skip
        self._stack = AsyncExitStack()
        self._client: Any = None
        self._errors: tuple[type[Exception], ...] = ()

    async def __aenter__(self) -> Self:
        """Open it. Raises Unavailable without the extra."""
        try:
            from aiobotocore.config import AioConfig
            from aiobotocore.session import get_session
            from botocore.exceptions import BotoCoreError, ClientError
        except ImportError as error:
            message = "AWS needs the extra `aws`: pip install 'lastgood[aws]'. The image has it."
            raise Unavailable(message) from error
        self._errors = (BotoCoreError, ClientError)
        made = get_session().create_client(**self._place, config=AioConfig(**self._limits))
        self._client = await self._stack.enter_async_context(made)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        await self._stack.aclose()
