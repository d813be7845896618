"""Sessions behind the Makefile. They use the environment that they are started in."""

from __future__ import annotations

import os

import nox

nox.options.default_venv_backend = "none"
nox.options.sessions = ["lint", "types", "tests", "docs"]

WORKERS = os.environ.get("MESHCRDT_TEST_WORKERS", "2")


@nox.session
def lint(session: nox.Session) -> None:
    """Style, and the floors of the house."""
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("lint-imports", "--no-cache")


@nox.session
def types(session: nox.Session) -> None:
    """Strict types."""
    session.run("mypy")


@nox.session
def tests(session: nox.Session) -> None:
    """Every test that this machine can run; -rs prints why the others are skipped."""
    parallel = ("-n", WORKERS, "--dist", "worksteal")
    quiet = ("-q", "-rs", "-p", "no:cacheprovider")
    session.run("pytest", *quiet, *parallel, "-m", "not system and not root", *session.posargs)
    # Hosts and daemons have real deadlines: they get the machine for themselves.
    session.run("pytest", *quiet, "-m", "(system or root) and not full", *session.posargs)


@nox.session
def system(session: nox.Session) -> None:
    """System scenarios at full length."""
    session.run("pytest", "-q", "-rs", "-p", "no:cacheprovider", "-m", "full", *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """The documentation builds without a warning."""
    session.run("sphinx-build", "-q", "-W", "-n", "-b", "html", "docs", "docs/_build/html")


@nox.session
def soak(session: nox.Session) -> None:
    """Deep runs: ten times the seeds, twenty times the examples."""
    deep(session, "tests/property", "tests/sim", *session.posargs)


@nox.session
def fuzz(session: nox.Session) -> None:
    """Decoders, handshakes and doors against what a stranger may send, as deep."""
    hostile = ("wire", "trust_handshake", "trust_noise", "gossip_hostile", "node_hostile")
    paths = (f"tests/property/test_property_{name}.py" for name in hostile)
    deep(session, *paths, *session.posargs)


def deep(session: nox.Session, *arguments: str) -> None:
    """Run tests at depth; what takes long there is not stuck."""
    parallel = ("-n", WORKERS, "--dist", "worksteal", "--timeout", "0")
    session.run("pytest", "-q", *parallel, *arguments, env={"MESHCRDT_SOAK": "1"})


@nox.session
def bench(session: nox.Session) -> None:
    """Benchmarks beside other systems, which get an environment of their own."""
    session.run("python", "-m", "pip", "install", "-q", "--group", "bench")
    session.run("python", "-m", "benchmarks.setup")
    session.run("python", "-m", "benchmarks.run", *session.posargs)
