"""What tests of adapters can ask for: a local AWS, one for all tests of this process."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.adapters.moto import Moto

OWN = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_EC2_METADATA_DISABLED": "true"}


@pytest.fixture(scope="session")
def moto() -> Iterator[Moto]:
    before = {name: os.environ.get(name) for name in OWN}
    os.environ.update(OWN)
    server = Moto()
    yield server
    server.stop()
    for name, value in before.items():
        if value is None:
            os.environ.pop(name)
        else:
            os.environ[name] = value
