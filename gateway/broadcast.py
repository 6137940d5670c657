"""One item to everyone who listens: a callback, and any number of asynchronous iterators."""

from __future__ import annotations

import asyncio
import weakref
from collections import deque
from collections.abc import Callable
from typing import Generic, Self, TypeVar

T = TypeVar("T")


class Listener(Generic[T]):
    """Hears everything from its creation on; while its owner is slow it keeps the newest `size`."""

    def __init__(self, size: int) -> None:
        self._items: deque[T] = deque(maxlen=size)
        self._arrived = asyncio.Event()

    def put(self, item: T) -> None:
        self._items.append(item)
        self._arrived.set()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        while not self._items:
            self._arrived.clear()
            await self._arrived.wait()
        return self._items.popleft()


class Broadcast(Generic[T]):
    """Listeners are held weakly: one that its owner dropped is gone. The callback is called by the event loop, in order: an error
    in it goes to the loop's exception handler, and not into whoever published."""

    def __init__(self, size: int = 1024) -> None:
        self.callback: Callable[[T], None] | None = None
        self._size = size
        self._listeners: weakref.WeakSet[Listener[T]] = weakref.WeakSet()

    def publish(self, item: T) -> None:
        if self.callback is not None:
            asyncio.get_running_loop().call_soon(self.callback, item)
        for listener in self._listeners:
            listener.put(item)

    def listen(self) -> Listener[T]:
        listener: Listener[T] = Listener(self._size)
        self._listeners.add(listener)
        return listener
