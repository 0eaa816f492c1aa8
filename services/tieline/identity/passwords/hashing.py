"""Passwords: their rules, how they are hashed, and the threads that hash them.

A hash takes some 25 ms of a core on purpose, and so never runs on the event loop. The number of
threads bounds its memory, the length of the queue bounds the wait: a flood of sign-ins is told to
come back, and the other calls of the process go on.
"""

import asyncio
import hmac
import os
import secrets
import sys
import threading
import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from types import TracebackType
from typing import Self, TypeVar

import argon2
from argon2.exceptions import InvalidHashError, VerificationError

from tieline.chassis.errors import ResourceExhaustedError

MIN_PASSWORD_LENGTH = 10
MAX_PASSWORD_LENGTH = 128

# By then a full queue has been worked off at the default settings.
_RETRY_AFTER_S = 3.0

# Under contention a thread that is nicer by 10 gets a tenth of the time (a weight of 110 to 1024).
_NICENESS = 10

# Between two hashes a thread needs the interpreter's lock for microseconds. After this time without
# it, it forces the event loop to hand the lock over, and the loop stands still until the thread,
# being nice, is given a core: Python's own 5 ms are too soon. A loop that waits for anything gives
# the lock away by itself. A thread that computes in Python keeps it as long from the loop: here
# only the one that writes the metrics does, for a few milliseconds.
_LOCK_PATIENCE_S = 0.1

T = TypeVar("T")


def check_new_password(password: str, field: str, violations: dict[str, str]) -> None:
    """Refuse a password that is too weak, or longer than anybody types."""
    if not MIN_PASSWORD_LENGTH <= len(password) <= MAX_PASSWORD_LENGTH:
        violations[field] = f"must have {MIN_PASSWORD_LENGTH} to {MAX_PASSWORD_LENGTH} characters"


def check_given_password(password: str, field: str, violations: dict[str, str]) -> None:
    """Refuse what no password can be; any other wrong one is the account's business."""
    if len(password) > MAX_PASSWORD_LENGTH:
        violations[field] = f"must have at most {MAX_PASSWORD_LENGTH} characters"


class PasswordHasher:
    """Argon2id over the peppered password: a stolen table is worth nothing without the pepper."""

    def __init__(self, pepper: bytes, *, time_cost: int, memory_kib: int, parallelism: int) -> None:
        self._pepper = pepper
        self._argon2 = argon2.PasswordHasher(
            time_cost=time_cost, memory_cost=memory_kib, parallelism=parallelism
        )
        # What the password of an account that does not exist is compared with.
        self._nobodys_hash = self.hash(secrets.token_urlsafe())

    def hash(self, password: str) -> str:
        """Return the password's hash with its parameters and a salt of its own."""
        return self._argon2.hash(self._season(password))

    def verify(
        self, password_hash: str | None, password: str, *, stand_in: str | None = None
    ) -> bool:
        """Return whether the password is right; without a hash False, after the same time.

        Somebody's hash may have the parameters of earlier settings. What is compared in place of
        none is therefore ``stand_in``, the hash of an account that does exist, if there is one.
        """
        is_same = self._compare(password_hash or stand_in or self._nobodys_hash, password)
        return is_same and password_hash is not None

    def is_outdated(self, password_hash: str) -> bool:
        """Tell whether the hash was made with other parameters than those of the settings."""
        return self._argon2.check_needs_rehash(password_hash)

    def _compare(self, password_hash: str, password: str) -> bool:
        try:
            return self._argon2.verify(password_hash, self._season(password))
        except (VerificationError, InvalidHashError):
            return False

    def _season(self, password: str) -> bytes:
        # Two keyboards may send one character in two ways; NFC makes them one (RFC 8265).
        normal = unicodedata.normalize("NFC", password)
        return hmac.digest(self._pepper, normal.encode(), "sha256")


class _LockPatience:
    """Has the process' threads wait longer for the interpreter's lock while any pool is open.

    That is the whole process' affair: the last pool restores what was before the first.
    """

    def __init__(self) -> None:
        self._open_pools = 0
        self._usual_s = 0.0

    def lengthen(self) -> None:
        """Count a pool that opens."""
        if not self._open_pools:
            self._usual_s = sys.getswitchinterval()
            sys.setswitchinterval(_LOCK_PATIENCE_S)
        self._open_pools += 1

    def restore(self) -> None:
        """Count a pool that has closed."""
        self._open_pools -= 1
        if not self._open_pools:
            sys.setswitchinterval(self._usual_s)


_patience = _LockPatience()


class PasswordPool:
    """Hashes and verifies in a few threads, with a bounded queue before them.

    An async context manager; leaving it waits for what is being hashed. Within it, threads of the
    process wait longer for the interpreter's lock. ``hash`` and ``verify`` raise
    ResourceExhaustedError (SIGN_INS_EXHAUSTED) at once when the queue is full. A caller that is
    cancelled leaves the queue.
    """

    def __init__(self, hasher: PasswordHasher, *, threads: int, queue_length: int) -> None:
        self._hasher = hasher
        self._executor = ThreadPoolExecutor(
            threads, thread_name_prefix="password", initializer=_yield_to_other_threads
        )
        self._capacity = threads + queue_length
        self._under_way = 0

    async def __aenter__(self) -> Self:
        _patience.lengthen()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            await asyncio.to_thread(self._executor.shutdown, cancel_futures=True)
        finally:
            _patience.restore()

    async def hash(self, password: str) -> str:
        """Return the hash of a new password."""
        return await self._run(self._hasher.hash, password)

    async def verify(
        self, password_hash: str | None, password: str, *, stand_in: str | None = None
    ) -> bool:
        """Return whether the password is right; ``None`` stands for an account that is not."""
        verify = partial(self._hasher.verify, stand_in=stand_in)
        return await self._run(verify, password_hash, password)

    async def rehash(self, password_hash: str | None, password: str) -> str | None:
        """Return a new hash of a password just verified, where the settings have changed.

        None where the hash is as it should be, or too much is waiting: the next sign-in will do.
        """
        if password_hash is None or not self._hasher.is_outdated(password_hash):
            return None
        if self._under_way >= self._capacity:
            return None
        return await self.hash(password)

    async def _run(self, function: Callable[..., T], *arguments: object) -> T:
        if self._under_way >= self._capacity:
            raise ResourceExhaustedError(
                "SIGN_INS_EXHAUSTED",
                "too many passwords are waiting to be checked",
                retry_after_s=_RETRY_AFTER_S,
            )
        work = asyncio.get_running_loop().run_in_executor(self._executor, function, *arguments)
        self._under_way += 1
        # Counted by the work, not by its caller: what a thread has begun goes on without them.
        work.add_done_callback(self._finish)
        return await work

    def _finish(self, work: asyncio.Future[T]) -> None:
        self._under_way -= 1


def _yield_to_other_threads() -> None:
    """Lower this thread's priority: whoever waits for a password waits longer than all others.

    Linux keeps a priority for each thread. Where the whole process would be meant, it stays, and
    where it is lower already: nobody but root may raise one.
    """
    if sys.platform == "linux":
        thread_id = threading.get_native_id()
        niceness = os.getpriority(os.PRIO_PROCESS, thread_id)
        os.setpriority(os.PRIO_PROCESS, thread_id, max(niceness, _NICENESS))
