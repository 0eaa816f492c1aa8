"""Passwords: rules, hashes, and the bounded threads."""

import asyncio
import os
import sys
import threading
from contextlib import AsyncExitStack

import pytest

from tieline.chassis.errors import ResourceExhaustedError
from tieline.identity.passwords.hashing import (
    PasswordHasher,
    PasswordPool,
    check_given_password,
    check_new_password,
)

PASSWORD = "correct horse"


def hasher(pepper: bytes = b"p" * 32) -> PasswordHasher:
    return PasswordHasher(pepper, time_cost=1, memory_kib=64, parallelism=1)


class HeldHasher(PasswordHasher):
    """Hashes once it is let go, and counts how many do so at the same time."""

    def __init__(self) -> None:
        super().__init__(b"p" * 32, time_cost=1, memory_kib=64, parallelism=1)
        self.let_go = threading.Event()
        self.under_way = 0
        self.most_under_way = 0
        self.thread_names: set[str] = set()
        self._lock = threading.Lock()

    def verify(
        self, password_hash: str | None, password: str, *, stand_in: str | None = None
    ) -> bool:
        with self._lock:
            self.under_way += 1
            self.most_under_way = max(self.most_under_way, self.under_way)
            self.thread_names.add(threading.current_thread().name)
        self.let_go.wait(10)
        with self._lock:
            self.under_way -= 1
        return True


@pytest.mark.parametrize(("length", "is_good"), [(9, False), (10, True), (128, True), (129, False)])
def test_a_new_password_has_10_to_128_characters(length: int, is_good: bool) -> None:
    violations: dict[str, str] = {}

    check_new_password("密" * length, "password", violations)

    assert violations == ({} if is_good else {"password": "must have 10 to 128 characters"})


@pytest.mark.parametrize(("length", "is_good"), [(0, True), (128, True), (129, False)])
def test_a_given_password_has_at_most_128_characters(length: int, is_good: bool) -> None:
    violations: dict[str, str] = {}

    check_given_password("x" * length, "password", violations)

    assert bool(violations) is not is_good


def test_only_the_right_password_is_verified() -> None:
    password_hash = hasher().hash(PASSWORD)

    assert hasher().verify(password_hash, PASSWORD)
    assert not hasher().verify(password_hash, PASSWORD + "!")
    assert not hasher().verify(password_hash, "")


def test_the_hash_of_somebody_else_opens_nothing() -> None:
    assert not hasher().verify(None, PASSWORD, stand_in=hasher().hash(PASSWORD))


def test_one_password_has_a_new_hash_each_time() -> None:
    assert hasher().hash(PASSWORD) != hasher().hash(PASSWORD)


def test_a_stolen_hash_can_not_be_tried_without_the_pepper() -> None:
    assert not hasher(b"o" * 32).verify(hasher().hash(PASSWORD), PASSWORD)


def test_two_ways_of_typing_one_character_are_one_password() -> None:
    composed, decomposed = "caf\u00e9 caf\u00e9 1", "cafe\u0301 cafe\u0301 1"

    assert hasher().verify(hasher().hash(composed), decomposed)


@pytest.mark.parametrize("stored", [None, "", "no hash at all", "$argon2id$v=19$broken"])
def test_no_password_is_right_where_there_is_no_hash(stored: str | None) -> None:
    assert not hasher().verify(stored, PASSWORD)


def test_an_account_that_is_not_there_costs_a_verification() -> None:
    verified: list[str] = []

    class Recorder:
        def verify(self, password_hash: str, seasoned: bytes) -> bool:
            verified.append(password_hash)
            return True

    subject = hasher()
    subject._argon2 = Recorder()  # type: ignore[assignment]

    # Even if the comparison came out right, nobody's password is nobody's.
    assert not subject.verify(None, PASSWORD)
    assert verified == [subject._nobodys_hash]


def test_parameters_are_those_of_the_settings() -> None:
    subject = PasswordHasher(b"p" * 32, time_cost=3, memory_kib=128, parallelism=2)

    assert subject.hash(PASSWORD).startswith("$argon2id$v=19$m=128,t=3,p=2$")


async def test_no_more_passwords_are_checked_at_once_than_there_are_threads() -> None:
    held = HeldHasher()
    async with PasswordPool(held, threads=2, queue_length=10) as pool:
        work = [asyncio.ensure_future(pool.verify(None, PASSWORD)) for _ in range(8)]
        await asyncio.sleep(0)
        held.let_go.set()

        assert all(await asyncio.gather(*work))

    assert held.most_under_way <= 2
    assert threading.current_thread().name not in held.thread_names


async def test_a_full_queue_tells_callers_to_come_back() -> None:
    held = HeldHasher()
    async with PasswordPool(held, threads=1, queue_length=2) as pool:
        work = [asyncio.ensure_future(pool.verify(None, PASSWORD)) for _ in range(3)]
        await asyncio.sleep(0)

        with pytest.raises(ResourceExhaustedError) as caught:
            await pool.verify(None, PASSWORD)

        held.let_go.set()
        await asyncio.gather(*work)
        assert await pool.verify(None, PASSWORD)
    assert caught.value.reason == "SIGN_INS_EXHAUSTED"
    assert caught.value.retry_after_s is not None


async def test_a_caller_who_is_cancelled_leaves_the_queue() -> None:
    held = HeldHasher()
    async with PasswordPool(held, threads=1, queue_length=1) as pool:
        running = asyncio.ensure_future(pool.verify(None, PASSWORD))
        await asyncio.sleep(0)
        waiting = asyncio.ensure_future(pool.verify(None, PASSWORD))
        await asyncio.sleep(0)

        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        instead = asyncio.ensure_future(pool.verify(None, PASSWORD))
        await asyncio.sleep(0)

        held.let_go.set()
        assert all(await asyncio.gather(running, instead))


def test_a_hash_with_other_parameters_is_outdated() -> None:
    dearer = PasswordHasher(b"p" * 32, time_cost=2, memory_kib=64, parallelism=1)

    assert hasher().is_outdated(dearer.hash(PASSWORD))
    assert not hasher().is_outdated(hasher().hash(PASSWORD))


async def test_a_password_is_hashed_anew_only_where_that_keeps_nobody_waiting() -> None:
    dearer = PasswordHasher(b"p" * 32, time_cost=2, memory_kib=64, parallelism=1)
    held = HeldHasher()
    async with PasswordPool(held, threads=1, queue_length=0) as pool:
        assert await pool.rehash(None, PASSWORD) is None
        assert await pool.rehash(hasher().hash(PASSWORD), PASSWORD) is None
        new_hash = await pool.rehash(dearer.hash(PASSWORD), PASSWORD)
        work = asyncio.ensure_future(pool.verify(None, PASSWORD))
        await asyncio.sleep(0)

        assert await pool.rehash(dearer.hash(PASSWORD), PASSWORD) is None

        held.let_go.set()
        await work
    assert new_hash is not None
    assert hasher().verify(new_hash, PASSWORD)


class AskingHasher(PasswordHasher):
    """Notes which priority its threads have."""

    def __init__(self) -> None:
        super().__init__(b"p" * 32, time_cost=1, memory_kib=64, parallelism=1)
        self.niceness = 0

    def verify(
        self, password_hash: str | None, password: str, *, stand_in: str | None = None
    ) -> bool:
        self.niceness = _niceness()
        return True


async def _ask() -> int:
    asking = AskingHasher()
    async with PasswordPool(asking, threads=1, queue_length=1) as pool:
        await pool.verify(None, PASSWORD)
    return asking.niceness


def _niceness() -> int:
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


async def test_whoever_waits_for_a_password_waits_longer_than_all_others() -> None:
    usual = _niceness()

    assert await _ask() == max(10, usual)
    assert _niceness() == usual


def test_threads_of_a_process_that_gives_way_already_give_way_as_it_does() -> None:
    niceness: list[int] = []

    def ask_in_a_thread_of_low_priority() -> None:
        # Threads that it starts have the same.
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 19)
        niceness.append(asyncio.run(_ask()))

    thread = threading.Thread(target=ask_in_a_thread_of_low_priority)
    thread.start()
    thread.join()

    assert niceness == [19]


async def test_while_there_is_a_pool_threads_force_no_event_loop_to_wait_for_them() -> None:
    usual_s = sys.getswitchinterval()

    async with PasswordPool(hasher(), threads=1, queue_length=1):
        within_s = sys.getswitchinterval()

    assert within_s == pytest.approx(0.1)
    assert sys.getswitchinterval() == pytest.approx(usual_s)


async def test_the_last_pool_of_a_process_restores_how_long_threads_wait() -> None:
    usual_s = sys.getswitchinterval()
    first = PasswordPool(hasher(), threads=1, queue_length=1)
    second = PasswordPool(hasher(), threads=1, queue_length=1)

    async with AsyncExitStack() as stack:
        async with first:
            await stack.enter_async_context(second)
        left_s = sys.getswitchinterval()

    assert left_s == pytest.approx(0.1)
    assert sys.getswitchinterval() == pytest.approx(usual_s)
