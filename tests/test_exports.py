"""The public names are a curated list; importing the package imports nothing else."""

import subprocess
import sys

import pytest

import meshcrdt


def test_every_public_name_exists_and_is_listed_once() -> None:
    assert list(meshcrdt.__all__) == sorted(set(meshcrdt.__all__))
    assert set(meshcrdt._HOMES) == set(meshcrdt.__all__)
    for name in meshcrdt.__all__:
        found = getattr(meshcrdt, name)
        assert name == "ABSENT" or found.__name__ == name


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        meshcrdt.no_such_name  # noqa: B018


def test_importing_the_package_loads_no_third_party_module() -> None:
    program = f"""
import sys
sys.path.insert(0, {_source()!r})
import meshcrdt
print(" ".join(name.partition(".")[0] for name in sys.modules))
"""
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program], capture_output=True, text=True, check=True
    )
    loaded = set(done.stdout.split())
    assert "meshcrdt" in loaded
    assert not loaded & {"attr", "attrs", "msgpack", "trio", "cryptography", "hypothesis", "click"}


def _source() -> str:
    (root,) = meshcrdt.__path__
    return root.removesuffix("/meshcrdt")
