"""The public names are a curated list; importing the package imports nothing else."""

import subprocess
import sys

import meshcrdt


def test_every_public_name_exists_and_is_listed_once() -> None:
    assert list(meshcrdt.__all__) == sorted(set(meshcrdt.__all__))
    assert set(meshcrdt._HOMES) == set(meshcrdt.__all__)
    for name in meshcrdt.__all__:
        assert getattr(meshcrdt, name).__name__ == name


def test_an_unknown_name_is_an_attribute_error() -> None:
    try:
        meshcrdt.no_such_name  # noqa: B018
    except AttributeError as error:
        assert "no_such_name" in str(error)
    else:
        raise AssertionError("an unknown name was found")


def test_importing_the_package_loads_no_third_party_module() -> None:
    code = "import sys, meshcrdt; print(' '.join(m.partition('.')[0] for m in sys.modules))"
    loaded = set(
        subprocess.run(
            [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.insert(0, {_source()!r}); {code}"],
            capture_output=True, text=True, check=True,
        ).stdout.split()
    )  # fmt: skip
    assert "meshcrdt" in loaded
    assert not loaded & {"attr", "attrs", "msgpack", "trio", "cryptography", "hypothesis", "click"}


def _source() -> str:
    (root,) = meshcrdt.__path__
    return root.removesuffix("/meshcrdt")
