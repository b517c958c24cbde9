"""Where the answers of a service may lead, and where not (NW-08, V12). No test sends a request."""

import ipaddress

import pytest

from vertebra import PresetHandle, http
from vertebra.errors import RedirectRefusedError, SourceUnavailableError
from vertebra.http import RedirectPolicy, _addresses, redirects

HANDLE = PresetHandle("toy", "acme/bert")
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
    """Fixed host names and addresses; addresses in any spelling are resolved as usual."""
    real = redirects.addresses

    def look_up(host, local_names=True):
        if host in NAMES:
            return [ipaddress.ip_address(text) for text in NAMES[host]] if local_names else []
        return real(host, local_names=False)  # no question leaves this machine

    monkeypatch.setattr(redirects, "addresses", look_up)
    for variable in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(variable, raising=False)


def follow(location, endpoint=PUBLIC):
    return RedirectPolicy(HANDLE, endpoint, f"{endpoint}/x", "TOY_ENDPOINT").resolve(f"{endpoint}/x", location)


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
        "https://[64:ff9b::7f00:1]/",
        "https://[64:ff9b::a9fe:a9fe]/",
        "https://[2002:7f00:1::]/",
        "https://[2001:0:7f00:1:0:0:f5ff:fffe]/",
        "https://[fe80::1]/",
        "https://localhost./",
        "https://LOCALHOST/",
        "https://a.localhost/",
        "https://127.0.0.1./",
        "https://0177.0.0.1/",
        "https://[::127.0.0.1]/",
        "https://[::ffff:0:127.0.0.1]/",
        "https://[64:ff9b:1::10.0.0.1]/",
        "https://[2606:4700::5efe:10.0.0.1]/",
        "https://[2606:4700::200:5efe:127.0.0.1]/",
        "https://[fec0::1]/",
        "https://[ff02::1]/",
        "https://[ff0e::1]/",
        "https://[100::1]/",
        "https://[3fff::1]/",
        "https://[5f00::1]/",
        "https://[2001:db8::1]/",
        "https://224.0.0.1/",
        "https://239.255.255.250/",
        "https://255.255.255.255/",
        "https://198.18.0.1/",
        "https://203.0.113.7/",
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
        "https://127.0.0.%31/",
        "https://local%68ost/",
        "https://127。0。0。1/",
        "https://[fe80::1%25eth0]/",
        "https://127.0.0.999/",
        "https://08.0.0.1/",
        "https://a..b/",
        "https://./",
    ],
)
def test_other_protocols_and_no_addresses_are_refused(names, location):
    with pytest.raises(RedirectRefusedError):
        follow(location)


def test_a_hub_inside_the_network_may_lead_inside(names):
    assert follow("https://inside.example/x", "https://own.example") == "https://inside.example/x"
    assert follow("http://127.0.0.1:1/x", "http://localhost:2") == "http://127.0.0.1:1/x"
    with pytest.raises(RedirectRefusedError):
        follow("https://127.0.0.1/x", "https://own.example")  # it is on another machine
    with pytest.raises(RedirectRefusedError):  # not even then
        follow("http://169.254.169.254/x", "http://localhost:2")


@pytest.mark.parametrize("network", _addresses.METADATA, ids=str)
@pytest.mark.parametrize("endpoint", [PUBLIC, "https://own.example", "https://localhost:2"])
def test_no_service_may_lead_to_the_credentials_of_a_machine(names, endpoint, network):
    """V12: the addresses at which clouds give a machine its credentials are inside the networks of companies."""
    for address in (network[0], network[-1]):
        host = f"[{address}]" if address.version == 6 else address
        with pytest.raises(RedirectRefusedError, match="inside this network"):
            follow(f"https://{host}/", endpoint)


def test_a_host_that_cannot_be_looked_up_is_not_asked(names):
    """V12: the client might read its name otherwise. Later, the name service may know it."""
    with pytest.raises(SourceUnavailableError, match="the name of its host cannot be looked up"):
        follow("https://unknown.example/x")


@pytest.mark.parametrize(
    ("host", "read"),
    [
        ("CDN.Example.", "cdn.example"),
        ("0x7f.1", "127.0.0.1"),
        ("2130706433", "127.0.0.1"),
        ("[::0001]", "::1"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("1.2.example", "1.2.example"),
    ],
)
def test_a_host_is_read_as_clients_read_it(host, read):
    """V12."""
    assert _addresses.normalized(host.strip("[]")) == read


def test_public_addresses_are_those_of_no_special_network():
    """V12: in each version of Python, whose own list differs."""
    public = ["1.1.1.1", "93.184.216.34", "192.0.1.1", "172.32.0.1", "100.128.0.1", "223.255.255.255", "168.63.129.15"]
    public += ["2606:4700::1111", "2a00:1450::1", "64:ff9b::5db8:d822", "::ffff:1.1.1.1", "2606::5efe:1.1.1.1"]
    kinds = {text: _addresses.kind_of(ipaddress.ip_address(text)) for text in public}
    assert {text: kind for text, kind in kinds.items() if kind is not _addresses.Kind.PUBLIC} == {}


def test_a_name_that_meant_something_else_when_it_was_looked_up_is_noticed(names):
    policy = RedirectPolicy(HANDLE, PUBLIC, PUBLIC, "TOY_ENDPOINT")
    policy.check_peer("https://cdn.example/x", ("93.184.216.35", 443))
    policy.check_peer(f"{PUBLIC}/x", ("127.0.0.1", 443))  # where the user's own hub is, is the user's concern
    policy.check_peer("https://cdn.example/x", None)
    with pytest.raises(RedirectRefusedError, match="inside this network"):
        policy.check_peer("https://cdn.example/x", ("127.0.0.1", 443))


def test_behind_a_proxy_names_mean_what_they_mean_to_the_proxy(names, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    policy = RedirectPolicy(HANDLE, PUBLIC, PUBLIC, "TOY_ENDPOINT")
    policy.check_peer("https://cdn.example/x", ("10.0.0.1", 3128))
    assert follow("https://only-the-proxy-knows.example/x")
    with pytest.raises(RedirectRefusedError):
        follow("https://169.254.169.254/x")


def test_the_error_says_how_to_allow_it(names):
    with pytest.raises(RedirectRefusedError, match="inside your own network, set TOY_ENDPOINT"):
        follow("https://127.0.0.1/")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("GET https://host/x?sig=1&b=2 failed", "GET https://host/x failed"),
        ("'http://host:80/x?sig=1', 'https://host/?a'", "'http://host:80/x', 'https://host/'"),
        ('http://host:80 "GET /x?sig=1 HTTP/1.1" 200', 'http://host:80 "GET /x HTTP/1.1" 200'),
        ("what? nothing", "what? nothing"),
    ],
)
def test_queries_are_left_out_of_what_is_shown(text, shown):
    assert http.without_queries(text) == shown
