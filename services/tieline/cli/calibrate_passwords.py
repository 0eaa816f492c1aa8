"""`tieline calibrate-passwords`: settings by which checking a password takes a given time here."""

import secrets
import statistics
import time

import click

from tieline.identity.passwords.calibration import Parameters, calibrate
from tieline.identity.passwords.hashing import PasswordHasher

# Enough that one that was interrupted does not count.
_RUNS = 5


@click.command()
@click.option(
    "--target-ms",
    default=250,
    show_default=True,
    type=click.IntRange(5, 10_000),
    help="Milliseconds that checking one password may take.",
)
@click.option(
    "--max-memory-mib",
    default=64,
    show_default=True,
    type=click.IntRange(19, 1024),
    help="MiB that checking one password may take; each of password_threads takes as much.",
)
def calibrate_passwords(target_ms: int, max_memory_mib: int) -> None:
    """Measure this machine and print identity's settings for passwords.

    Run it where identity runs, while little else does. Passwords that were set before are hashed
    anew when their owners sign in.

    \b
    Examples:
      tieline calibrate-passwords
      tieline calibrate-passwords --target-ms 100 --max-memory-mib 32
    """
    found = calibrate(_measure, target_s=target_ms / 1000, max_memory_kib=max_memory_mib * 1024)
    parameters = found.parameters
    click.echo(f"TIELINE_PASSWORD_TIME_COST={parameters.time_cost}")
    click.echo(f"TIELINE_PASSWORD_MEMORY_KIB={parameters.memory_kib}")
    click.echo(f"TIELINE_PASSWORD_PARALLELISM={parameters.parallelism}")
    click.echo(
        f"# one password takes {found.seconds * 1000:.0f} ms of a core: "
        f"{1 / found.seconds:.0f} sign-ins/s for each of TIELINE_PASSWORD_THREADS",
    )
    if found.seconds * 1000 > target_ms:
        click.echo(f"# that is above {target_ms} ms: less would be too cheap to guess", err=True)


def _measure(parameters: Parameters) -> float:
    """Return the median seconds of a core for checking a password.

    Of this thread's time: what else runs on the machine does not count.
    """
    hasher = PasswordHasher(
        secrets.token_bytes(32),
        time_cost=parameters.time_cost,
        memory_kib=parameters.memory_kib,
        parallelism=parameters.parallelism,
    )
    durations = []
    for _ in range(_RUNS):
        begun_at = time.thread_time()
        hasher.verify(None, "a password")
        durations.append(time.thread_time() - begun_at)
    return statistics.median(durations)
