"""Both built-in stores keep the rules of the conformance suite."""

import pytest

from meshcrdt.storage.registry import open_store
from meshcrdt.testing.store_suite import STORE_CHECKS, StoreUnderTest


@pytest.mark.parametrize("scheme", ["mem", "sqlite"])
@pytest.mark.parametrize("check", STORE_CHECKS, ids=lambda check: check.__name__)
async def test_conformance(check, scheme, tmp_path):
    url = "mem://named" if scheme == "mem" else f"sqlite://{tmp_path}/deep/er/mesh.db"
    await check(StoreUnderTest(open_store, url))
