"""What a module of tests needs and not everybody has installed."""

from importlib.util import find_spec

import pytest


def needs(package: str) -> None:
    """Skip the module that asks where the package is not installed; nothing of it is imported, which each process of the
    tests would pay for."""
    if find_spec(package) is None:
        pytest.skip(f"{package} is not installed", allow_module_level=True)
