"""Requests to a server of OpenAI's interface: many at once, again where that helps, one sentence where it does not.

Busy (429), failing (5xx), slow, cut off or garbled answers are asked for again with growing pauses, or after what
`Retry-After` says; any other refusal is told at once in the server's words. The key goes into a header and out of
whatever is said.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

from harness.engines.address import KEY, Address, key
from harness.errors import HarnessError, UsageError, masked
from harness.numbers import printable

T = TypeVar("T")
Body = Mapping[str, Any]
BUSY = (408, 409, 425, 429)
LONGEST_PAUSE = 60.0  # seconds, whatever a server asks for


class ServerError(HarnessError):
    """A server that no longer answers, or not as it should."""

    kind = "server"


class Again(Exception):
    """What went wrong with a request that may be tried again: why, and after how many seconds if the server said."""

    def __init__(self, why: str, after: float | None = None, reached: bool = True) -> None:
        super().__init__(why)
        self.after, self.reached = after, reached


class Refused(UsageError):
    """A request that the server will not answer, however often it is asked."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class Wire:
    """Asks the server at an address. An answer may take `seconds`, a request is tried `tries` times."""

    def __init__(self, address: Address, *, tries: int = 6, seconds: float = 300.0) -> None:
        self.address, self.tries, self.seconds = address, tries, seconds
        self._key = key()

    @property
    def base(self) -> str:
        """Where the server's routes begin, as it may be shown."""
        return masked(self.address.base)

    def ask(self, route: str, read: Callable[[Any], T], body: Body | None = None, tries: int = 0) -> T:
        """Return what `read` makes of one answer; a server that cannot be reached is told at once.

        Without a `body` it is a GET.
        """
        found: list[T] = []
        self.all(
            route,
            {0: body},
            read,
            lambda _, value: found.append(value),
            opening=True,
            tries=tries or self.tries,
        )
        return found[0]

    def all(
        self,
        route: str,
        bodies: Mapping[int, Body | None],
        read: Callable[[Any], T],
        hear: Callable[[int, T], object],
        *,
        at_once: int = 1,
        opening: bool = False,
        tries: int = 0,
    ) -> None:
        """Ask for everything, `at_once` on their way, and `hear(place, value)` of each as it comes.

        `read` raises `Again` for an answer that is none. Raises Refused or ServerError once a request has failed for
        good: no further one is sent, and what those on their way bring is heard.
        """
        import asyncio

        failed: list[Exception] = []
        tries = tries or self.tries

        def worth(error: BaseException) -> bool:
            return isinstance(error, Again) and not failed and (error.reached or not opening)

        async def go() -> None:
            import httpx2

            gate = asyncio.Semaphore(at_once)
            timeout = httpx2.Timeout(self.seconds, connect=min(10.0, self.seconds), pool=None)
            limits = httpx2.Limits(max_connections=at_once)
            headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
            async with httpx2.AsyncClient(timeout=timeout, limits=limits, headers=headers) as client:

                async def one(place: int, body: Body | None) -> None:
                    async with gate:
                        if failed:
                            return
                        try:
                            hear(place, await self._patient(client, route, body, read, worth, tries))
                        except Exception as error:
                            failed.append(error)

                await asyncio.gather(*(one(place, body) for place, body in bodies.items()))

        asyncio.run(go())
        if failed:
            raise failed[0]

    async def _patient(
        self,
        client: Any,
        route: str,
        body: Body | None,
        read: Callable[[Any], T],
        worth: Callable[[BaseException], bool],
        tries: int,
    ) -> T:
        from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt, wait_exponential_jitter

        growing = wait_exponential_jitter(initial=0.5, max=30, jitter=0.5)

        def pause(state: Any) -> float:
            after = state.outcome.exception().after
            return float(growing(state)) if after is None else after

        asking = AsyncRetrying(
            stop=stop_after_attempt(tries), wait=pause, retry=retry_if_exception(worth), reraise=True
        )
        try:
            return await asking(self._once, client, route, body, read)
        except Again as error:
            if not error.reached and not worth(error):
                raise UsageError(
                    f"no server answers at {self.base} ({error}): start it, or give the address where it listens"
                ) from None
            raise ServerError(
                f"{self.base}/{route} does not answer as it should ({error}; tried {tries} times): what has come is "
                "kept, so see to the server and repeat the command"
            ) from None

    async def _once(self, client: Any, route: str, body: Body | None, read: Callable[[Any], T]) -> T:
        import httpx2

        url = f"{self.address.base}/{route}"
        try:
            response = await (client.get(url) if body is None else client.post(url, json=body))
        except httpx2.HTTPError as error:
            away = isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout)
            why = self._said(str(error) or type(error).__name__)
            raise Again(why, reached=not away) from None
        status = response.status_code
        if status in BUSY or status >= 500:
            after = _seconds(response.headers.get("retry-after"))
            raise Again(f"{status}: {self._said(response.text) or response.reason_phrase}", after)
        if status != 200:
            raise self._refusal(route, status, self._said(response.text) or response.reason_phrase)
        try:
            answer = response.json()
        except (ValueError, RecursionError):
            raise Again("what it sent is no JSON") from None
        return read(answer)

    def _refusal(self, route: str, status: int, words: str) -> Refused:
        if status in (401, 403):
            why = f"{self.base} wants another key ({status}: {words}): set {KEY}"
        elif status in (404, 405) and "model" not in words.lower():
            why = f"{self.base} has no route {route} ({status}: {words}): give a server of OpenAI's interface that has"
        elif 300 <= status < 400:
            why = f"{self.base}/{route} leads elsewhere ({status}): give the address itself"
        else:
            why = f"{self.base}/{route} refuses the request ({status}: {words})"
        return Refused(why, status)

    def _said(self, text: str) -> str:
        """Return a server's words as a short line without the key."""
        line = " ".join(text.split())
        if self._key:
            line = line.replace(self._key, "***")
        return printable(masked(line))[:200]


def _seconds(told: str | None) -> float | None:
    """Return how long `Retry-After` asks to wait, a number or a date; None where it says nothing."""
    if not told:
        return None
    try:
        wait = float(told)
    except ValueError:
        try:
            wait = (parsedate_to_datetime(told) - datetime.datetime.now(datetime.UTC)).total_seconds()
        except (ValueError, TypeError):
            return None
    return min(max(wait, 0.0), LONGEST_PAUSE) if wait == wait else None


def part(value: Any, *path: Any, kind: Any) -> Any:
    """Return what lies at a path of an answer. Raises Again where there is nothing, or of another kind."""
    for step in path:
        try:
            value = value[step]
        except (KeyError, IndexError, TypeError):
            raise Again(f"what it sent has no {'.'.join(map(str, path))}") from None
    if not isinstance(value, kind) or isinstance(value, bool):
        raise Again(f"{'.'.join(map(str, path))} of what it sent is no {getattr(kind, '__name__', kind)}")
    return value


def served(wire: Wire, model: str) -> str:
    """Return the server's own name of `model`: what stands behind # in the address, or the one that is named alike.

    Without either it is the only one. Raises UsageError where the server has another model. A server without a list
    is believed.
    """

    def read(answer: Any) -> list[str]:
        return [part(row, "id", kind=str) for row in part(answer, "data", kind=list)]

    wanted = wire.address.served
    try:
        names = wire.ask("models", read, tries=3)
    except Refused as error:
        if error.status not in (404, 405):
            raise
        names = [wanted or model] if wanted or model else []
    if not (wanted or model) and len(names) != 1:
        raise UsageError(
            f"{wire.base} serves {', '.join(names[:5]) or 'no model that it names'}: write the one that is meant "
            "behind the address, as in http://host:8000#its-model"
        )
    found = [name for name in names if name == wanted or (not wanted and alike(name, model or name))]
    if not found:
        told = ", ".join(names[:5]) or "no model"
        fix = f"#{names[0]} behind the address says that it is the same" if names else "load one there"
        raise UsageError(f"{wire.base} serves {told} and not {wanted or model}: serve that one, or {fix}")
    return found[0]


def alike(name: str, other: str) -> bool:
    """Say whether two names of a model have the same last part, as a path, a hub id and a GGUF file may."""

    def last(text: str) -> str:
        part = text.rsplit("#", 1)[-1].rstrip("/").rsplit("/", 1)[-1].rsplit(":", 1)[-1].partition("@")[0]
        return part.lower().removesuffix(".gguf")

    return last(name) == last(other)
