"""Where a hub may send a download, and where not (NW-08)."""

import ipaddress

import pytest

from servers import faults
from servers.hub import HubServer
from vertebra import PresetHandle
from vertebra.errors import PresetError
from vertebra_hf import redirects
from vertebra_hf.redirects import Hops, RedirectRefusedError

REPO = "acme/bert"
HANDLE = PresetHandle("hf", REPO)
FILES = {"config.json": b"{}"}
PUBLIC = "https://hub.example"
NAMES = {
    "hub.example": ["93.184.216.34"],
    "cdn.example": ["2606:2800:220:1::1", "93.184.216.35"],
    "inside.example": ["10.1.2.3"],
    "both.example": ["93.184.216.35", "192.168.0.1"],
    "own.example": ["10.0.0.1"],
}


@pytest.fixture
def names(monkeypatch):
    """Names that mean what they say here, with addresses in all their spellings resolved as ever."""
    real = redirects.addresses

    def addresses(host, local_names=True):
        return [ipaddress.ip_address(text) for text in NAMES[host]] if host in NAMES else real(host, local_names)

    monkeypatch.setattr(redirects, "addresses", addresses)
    for variable in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(variable, raising=False)


def follow(location, endpoint=PUBLIC):
    return Hops(HANDLE, endpoint, f"{endpoint}/x").next(f"{endpoint}/x", location)


@pytest.mark.parametrize(
    "location", [f"{PUBLIC}/y", "/y", "y?z#w", "https://cdn.example/y?sig=1", "//cdn.example:8443/"]
)
def test_public_places_are_followed(names, location):
    assert follow(location).startswith("https://")


@pytest.mark.parametrize(
    "location",
    [
        "https://169.254.169.254/latest/meta-data",
        "https://127.0.0.1/",
        "https://2130706433/",
        "https://0x7f.1/",
        "https://0.0.0.0/",
        "https://localhost:8080/",
        "https://[::1]/",
        "https://[::ffff:127.0.0.1]/",
        "https://[fe80::1]/",
        "https://[fd00::1]/",
        "https://10.0.0.1/",
        "https://172.16.0.1/",
        "https://192.168.1.1/",
        "https://100.64.0.1/",
        "https://inside.example/",
        "https://both.example/",
    ],
)
def test_nothing_leads_into_the_users_network(names, location):
    with pytest.raises(RedirectRefusedError, match="inside this network"):
        follow(location)


@pytest.mark.parametrize(
    "location",
    [
        "file:///etc/passwd",
        "ftp://cdn.example/x",
        "http://cdn.example/x",
        "https:///x",
        "https://[::",
        "data:,x",
        "https://a:b/",
        f"{PUBLIC}\\@cdn.example/x",
        f"{PUBLIC}/\u2028x",
        "https://cdn.example/a b",
    ],
)
def test_other_protocols_and_no_addresses_are_refused(names, location):
    with pytest.raises(RedirectRefusedError):
        follow(location)


def test_a_hub_inside_the_network_may_lead_inside(names):
    assert follow("https://inside.example/x", "https://own.example") == "https://inside.example/x"
    assert follow("http://127.0.0.1:1/x", "http://localhost:2") == "http://127.0.0.1:1/x"
    with pytest.raises(RedirectRefusedError):  # not even then
        follow("http://169.254.169.254/x", "http://localhost:2")


def test_a_name_that_meant_something_else_when_it_was_looked_up_is_noticed(names):
    hops = Hops(HANDLE, PUBLIC, PUBLIC)
    hops.check_peer("https://cdn.example/x", ("93.184.216.35", 443))
    hops.check_peer(f"{PUBLIC}/x", ("127.0.0.1", 443))  # where the user's own hub is, is the user's concern
    hops.check_peer("https://cdn.example/x", None)
    with pytest.raises(RedirectRefusedError, match="inside this network"):
        hops.check_peer("https://cdn.example/x", ("127.0.0.1", 443))


def test_behind_a_proxy_names_mean_what_they_mean_to_the_proxy(names, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    hops = Hops(HANDLE, PUBLIC, PUBLIC)
    hops.check_peer("https://cdn.example/x", ("10.0.0.1", 3128))
    assert follow("https://only-the-proxy-knows.example/x")
    with pytest.raises(RedirectRefusedError):
        follow("https://169.254.169.254/x")


# === From end to end ===


@pytest.fixture
def hub(hub):
    hub.commit(REPO, FILES)
    return hub


@pytest.fixture
def public(hub, monkeypatch):
    """Has the hub count as one on the internet, though it is on the loopback interface as everything else here."""
    real = redirects._address
    hub_address = ipaddress.ip_address("93.184.216.34")
    monkeypatch.setattr(
        redirects,
        "addresses",
        lambda host, local_names=True: [hub_address] if host != "localhost" else [real("127.0.0.1")],
    )
    return hub


def test_five_redirects_are_followed(hub, fetch):
    hub.faults = [faults.redirect_hops(5)]
    assert fetch(f"hf://{REPO}", "config.json") == b"{}"


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (faults.redirect_hops(30), "more than 10"),
        (faults.redirect_loop(), "in a circle"),
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
    with pytest.raises(PresetError, match=r"no address|location header"):  # older clients look at it first
        fetch(f"hf://{REPO}", "config.json")


@pytest.mark.parametrize("place", ["http://localhost:{port}", "http://127.0.0.1:{port}"])
def test_a_public_hub_does_not_lead_inside(public, fetch, place):
    """Either the name says so, or, as `addresses` lies for 127.0.0.1, whoever answers does."""
    with HubServer() as other:
        other.commit(REPO, FILES)
        public.faults = [faults.redirect_origin(place.format(port=other.port))]
        with pytest.raises(RedirectRefusedError, match=r"inside this network \(127\.0\.0\.1\)"):
            fetch(f"hf://{REPO}", "config.json")
        assert len(other.requests) == ("127" in place)


def test_what_a_redirect_shows_has_no_query(hub, fetch):
    hub.faults = [faults.redirect("ftp://user:password@host/x?signature=1")]
    with pytest.raises(RedirectRefusedError) as raised:
        fetch(f"hf://{REPO}", "config.json")
    assert not {"password", "signature"} & set(str(raised.value).replace("?", ":").replace("=", ":").split(":"))
