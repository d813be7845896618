import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshcrdt.base.dnsname import check_name, qualify_name
from meshcrdt.errors import UsageError
from meshcrdt.names import normalise_name


@pytest.mark.parametrize(
    ("given_name", "key"),
    [
        ("web", "web.mesh.internal"),
        ("Web", "web.mesh.internal"),
        ("web.mesh.internal", "web.mesh.internal"),
        ("web.mesh.internal.", "web.mesh.internal"),
        ("WEB.Example.COM", "web.example.com"),
        ("_http._tcp.web", "_http._tcp.web"),
        ("top.", "top"),
        ("a" * 63, "a" * 63 + ".mesh.internal"),
    ],
)
def test_names_key_is_full_and_lower_case(given_name: str, key: str) -> None:
    assert normalise_name(given_name, "mesh.internal") == key


def test_names_case_is_kept_for_people() -> None:
    assert qualify_name("Web", "mesh.internal") == "Web.mesh.internal"


@pytest.mark.parametrize(
    "bad",
    [
        "",
        ".",
        "a..b",
        ".a",
        "a" * 64,
        ".".join(["a" * 50] * 6),
        "we b",
        "web\n",
        "web\x00",
        "web\x7f",
        "wéb",
        "web/1",
        "-web",
        "web-",
        "a.-b",
    ],
)
def test_names_bad_name_is_refused_by_repr(bad: str) -> None:
    with pytest.raises(UsageError) as caught:
        check_name(bad)
    assert "is not a name" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "\x00" not in str(caught.value)


def test_names_short_name_that_the_domain_makes_too_long_is_refused() -> None:
    domain = ".".join(["d" * 60] * 4)
    with pytest.raises(UsageError, match="253"):
        normalise_name("w" * 20, domain)


@given(st.text(max_size=80))
def test_names_normalising_is_idempotent_or_refused(text: str) -> None:
    try:
        key = normalise_name(text, "mesh.internal")
    except UsageError:
        return
    assert normalise_name(key + ".", "other.domain") == key
    assert 0 < len(key) <= 253
