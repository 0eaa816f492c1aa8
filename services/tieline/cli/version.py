"""`tieline version`."""

import importlib.metadata
import platform

import click


@click.command()
def version() -> None:
    """Print the version of Tieline and of Python.

    \b
    Example:
      tieline version
    """
    click.echo(
        f"tieline {importlib.metadata.version('tieline')} (Python {platform.python_version()})"
    )
