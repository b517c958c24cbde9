"""Where a hub may send a download, and where not (NW-08)."""

import ipaddress

import pytest

from servers import faults
from servers.hub import HubServer
from vertebra import PresetHandle
from vertebra.errors import PresetError, RedirectRefusedError
from vertebra.http import redirects

REPO = "acme/bert"
HANDLE = PresetHandle("hf", REPO)
FILES = {"config.json": b"{}"}


@pytest.fixture
def hub(hub):
    hub.commit(REPO, FILES)
    return hub


@pytest.fixture
def public(hub, monkeypatch):
    """Has the hub count as one on the internet, though it is on the loopback interface as everything else here."""
    hub_address = ipaddress.ip_address("93.184.216.34")
    monkeypatch.setattr(
        redirects,
        "addresses",
        lambda host, local_names=True: [hub_address] if host != "localhost" else [ipaddress.ip_address("127.0.0.1")],
    )
    return hub


def test_five_redirects_are_followed(hub, fetch):
    hub.faults = [faults.redirect_hops(5)]
    assert fetch(f"hf://{REPO}", "config.json") == b"{}"


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (faults.redirect_hops(30), "more than 10"),
        (faults.redirect_loop(), "a redirect loop"),
        (faults.redirect("file:///etc/passwd"), "only http and https"),
        (faults.redirect("http://169.254.169.254/"), "inside this network"),
    ],
    ids=str,
)
def test_the_rest_is_refused_at_once(hub, fetch, fault, words):
    hub.faults = [fault]
    with pytest.raises(RedirectRefusedError, match=words) as raised:
        fetch(f"hf://{REPO}", "config.json")
    assert isinstance(raised.value, PresetError)
    assert hub.faults.struck(fault) <= 11


def test_what_is_no_address_is_refused(hub, fetch):
    hub.faults = [faults.redirect("http://[::")]
    with pytest.raises(PresetError, match=r"not a URL|location header"):  # older clients look at it first
        fetch(f"hf://{REPO}", "config.json")


@pytest.mark.parametrize("url", ["http://localhost:{port}", "http://127.0.0.1:{port}"])
def test_a_public_hub_does_not_lead_inside(public, fetch, url):
    """The host is local by its name, or, as `addresses` lies for 127.0.0.1, by the address of the peer."""
    with HubServer() as other:
        other.commit(REPO, FILES)
        public.faults = [faults.redirect_origin(url.format(port=other.port))]
        with pytest.raises(RedirectRefusedError, match=r"inside this network \(127\.0\.0\.1\)"):
            fetch(f"hf://{REPO}", "config.json")
        assert len(other.requests) == ("127" in url)


def test_what_a_redirect_shows_has_no_query(hub, fetch):
    hub.faults = [faults.redirect("ftp://user:password@host/x?signature=1")]
    with pytest.raises(RedirectRefusedError) as raised:
        fetch(f"hf://{REPO}", "config.json")
    assert not {"password", "signature"} & set(str(raised.value).replace("?", ":").replace("=", ":").split(":"))
