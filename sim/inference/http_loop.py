"""One event loop for all served models of a process: while one is waited for, the others go on."""

import asyncio

_loop: asyncio.AbstractEventLoop | None = None
_users = 0


def enter() -> asyncio.AbstractEventLoop:
    """The loop, made for the first user; each one leaves once."""
    global _loop, _users
    if _loop is None:
        _loop = asyncio.new_event_loop()
    _users += 1
    return _loop


def leave() -> None:
    """Closes the loop with its last user."""
    global _loop, _users
    _users -= 1
    if _users == 0 and _loop is not None:
        _loop.close()
        _loop = None
