"""Where services are and as whom they are asked: variables and files, sound and not (NW-09). Nothing is sent."""

import os
import subprocess
import sys

import pytest

from vertebra.errors import PresetAccessError, SettingsError
from vertebra_s3.access import Keys, azure, google
from vertebra_s3.aws_config import amazon
from vertebra_s3.source import AzureSource, GoogleSource, S3Source

SECRET = "wJalr/XUtn+FEMI"
KEYS = {"AWS_ACCESS_KEY_ID": "AKIA1", "AWS_SECRET_ACCESS_KEY": SECRET}
FILE = f"""
[default]
aws_access_key_id = AKIADEFAULT
aws_secret_access_key = {SECRET}%
[dev]
aws_access_key_id = AKIADEV
aws_secret_access_key = {SECRET}
aws_session_token = token==
"""
CONFIG = """
[default]
region = eu-west-1
s3 =
  max_concurrent_requests = 20
[profile dev]
region = eu-central-1
endpoint_url = https://s3.dev.example.org/
[profile sso]
sso_session = corp
sso_account_id = 1
"""

pytestmark = pytest.mark.usefixtures("nobody")


@pytest.fixture
def variables(monkeypatch):
    def variables(**values):
        for name, value in values.items():
            monkeypatch.setenv(name, value)

    return variables


@pytest.fixture
def files(nobody):
    (nobody / ".aws" / "credentials").write_text(FILE)
    (nobody / ".aws" / "config").write_text(CONFIG)
    return nobody / ".aws"


def option(name):
    return dict(amazon().options).get(name)


# === Where ===


def test_amazon_is_asked_if_nothing_is_set():
    found = amazon()
    assert found.endpoint == "https://s3.us-east-1.amazonaws.com"
    assert dict(found.options) == {
        "region": "us-east-1",
        "endpoint": found.endpoint,
        "aws_endpoint_url_s3": found.endpoint,
        "virtual_hosted_style_request": "false",
        "skip_signature": "true",
    }


@pytest.mark.parametrize("name", ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"])
@pytest.mark.parametrize("blank", ["", " ", "\t\n"])
def test_a_blank_endpoint_is_none(variables, name, blank):
    variables(**{name: blank})
    assert amazon().endpoint == "https://s3.us-east-1.amazonaws.com"


@pytest.mark.parametrize(
    ("text", "url"),
    [
        (" http://127.0.0.1:9000/ \n", "http://127.0.0.1:9000"),
        ("https://minio.example.org", "https://minio.example.org"),
        ("https://[::1]:9000", "https://[::1]:9000"),
        ("https://gate.example.org/s3/", "https://gate.example.org/s3"),
    ],
)
def test_space_and_slashes_around_an_endpoint_are_none_of_it(variables, text, url):
    variables(AWS_ENDPOINT_URL=text)
    assert (amazon().endpoint, option("endpoint"), option("aws_endpoint_url_s3")) == (url,) * 3


@pytest.mark.parametrize(
    "text",
    [
        "s3.example.org",
        "ftp://s3",
        "https://",
        "https://[::",
        "https://s3:port",
        "https://s3:99999",
        "https://user:geheim@s3.example.org",
        "https://s3.example.org?key=geheim",
        "https://s3 .example.org",
        "https://s3.example.org/\nx",
        "https://münchen.example.org",
    ],
)
def test_an_endpoint_that_is_no_address_is_named_and_not_repeated(variables, text):
    variables(AWS_ENDPOINT_URL_S3=text)
    with pytest.raises(SettingsError, match="AWS_ENDPOINT_URL_S3") as raised:
        amazon()
    assert "geheim" not in str(raised.value)


def test_the_endpoint_of_the_service_wins_over_that_of_all_and_of_the_profile(variables, files):
    variables(AWS_PROFILE="dev")
    assert amazon().endpoint == "https://s3.dev.example.org"
    variables(AWS_ENDPOINT_URL="https://all.example.org")
    assert amazon().endpoint == "https://all.example.org"
    variables(AWS_ENDPOINT_URL_S3="https://s3.example.org")
    assert amazon().endpoint == "https://s3.example.org"
    variables(AWS_IGNORE_CONFIGURED_ENDPOINT_URLS="true")
    assert amazon().endpoint == "https://s3.eu-central-1.amazonaws.com"


def test_the_region_is_a_variable_or_the_profiles(variables, files):
    assert option("region") == "eu-west-1"
    variables(AWS_DEFAULT_REGION="ap-south-1")
    assert option("region") == "ap-south-1"
    variables(AWS_REGION=" cn-north-1 ")
    assert amazon().endpoint == "https://s3.cn-north-1.amazonaws.com.cn"
    variables(AWS_REGION="eu west")
    with pytest.raises(SettingsError, match="'eu west' is not a region"):
        amazon()


# === As whom ===


def test_without_credentials_nothing_is_signed_and_no_machine_is_asked_for_them():
    found = amazon()
    assert (found.keys, option("skip_signature")) == (None, "true")
    assert "no credentials were found" in found.login


def test_variables_win_over_files(variables, files):
    assert amazon().keys == Keys("AKIADEFAULT", f"{SECRET}%")
    variables(**{name: f" {value}\n" for name, value in KEYS.items()}, AWS_SESSION_TOKEN=" ")
    found = amazon()
    assert (found.keys, option("skip_signature")) == (Keys("AKIA1", SECRET), "false")
    assert "AWS_ACCESS_KEY_ID" in found.login


def test_a_token_goes_with_its_keys_only(variables, files):
    variables(AWS_SESSION_TOKEN="alien")
    assert amazon().keys.token is None
    variables(AWS_PROFILE="dev")
    assert amazon().keys == Keys("AKIADEV", SECRET, "token==")


def test_files_may_be_elsewhere_and_change(variables, files, tmp_path):
    variables(AWS_SHARED_CREDENTIALS_FILE=str(tmp_path / "c"), AWS_CONFIG_FILE="~/other")
    assert amazon().keys is None
    (tmp_path / "c").write_text("[default]\naws_access_key_id = A\naws_secret_access_key = B\n")
    assert amazon().keys == Keys("A", "B")
    (tmp_path / "c").write_text("[default]\naws_access_key_id = A\naws_secret_access_key = BB\n")
    assert amazon().keys == Keys("A", "BB")


def test_a_profile_that_is_not_there_is_named(variables, files):
    variables(AWS_PROFILE="prod")
    with pytest.raises(SettingsError, match="no profile 'prod'"):
        amazon()
    variables(AWS_PROFILE=" ")
    assert amazon().keys.key == "AKIADEFAULT"


def test_a_profile_that_only_amazons_tools_can_use_says_how(variables, files):
    variables(AWS_PROFILE="sso")
    found = amazon()
    assert (found.keys, option("skip_signature")) == (None, "true")
    assert "aws configure export-credentials --profile sso" in found.login


@pytest.mark.parametrize("name", KEYS)
def test_half_of_the_credentials_is_told(variables, name):
    variables(**{name: KEYS[name]})
    missing = next(iter(KEYS.keys() - {name}))
    with pytest.raises(SettingsError, match=missing) as raised:
        amazon()
    assert KEYS[name] not in str(raised.value)


@pytest.mark.parametrize("name", [*KEYS, "AWS_SESSION_TOKEN"])
@pytest.mark.parametrize("bad", ["geheim\nx", "geh eim", "geheim\x7f", "geheimß", '"geheim"', "Bearer geheim"])
def test_what_no_key_can_hold_is_told_and_not_repeated(variables, name, bad):
    variables(**{**KEYS, name: bad})
    with pytest.raises(SettingsError, match=r"AWS_") as raised:
        amazon()
    assert "geh" not in str(raised.value)


@pytest.mark.parametrize(
    "content", [f"aws_secret_access_key = {SECRET}".encode(), b"[default\n" + SECRET.encode(), b"\xff"]
)
def test_a_file_that_is_none_is_named_and_not_repeated(files, content):
    (files / "credentials").write_bytes(content)
    with pytest.raises(SettingsError, match="credentials") as raised:
        amazon()
    assert SECRET not in str(raised.value)


def test_a_file_that_is_a_folder_is_named(files):
    (files / "config").unlink()
    (files / "config").mkdir()
    with pytest.raises(SettingsError, match="config"):
        amazon()


@pytest.mark.parametrize(
    ("values", "login"),
    [
        ({"AWS_WEB_IDENTITY_TOKEN_FILE": "/t", "AWS_ROLE_ARN": "arn:x"}, "AWS_WEB_IDENTITY_TOKEN_FILE"),
        ({"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://169.254.170.2/x"}, "the container"),
        ({"AWS_EC2_METADATA_DISABLED": "False"}, "the EC2 instance"),
    ],
)
def test_other_places_are_asked_on_purpose(variables, values, login):
    variables(**values)
    found = amazon()
    assert (found.keys, option("skip_signature")) == (None, "false")
    assert login in found.login


@pytest.mark.parametrize("value", ["1", "true", " TRUE "])
def test_signing_can_be_switched_off(variables, value):
    variables(**KEYS, AWS_SKIP_SIGNATURE=value)
    assert (amazon().keys, option("skip_signature")) == (None, "true")


def test_credentials_are_in_no_text(variables):
    variables(**KEYS, AWS_SESSION_TOKEN="geheim")
    assert amazon().keys.secret == SECRET
    assert not [secret for secret in (SECRET, "AKIA1", "geheim") if secret in repr(amazon())]


# === Other services ===


def test_google_is_asked_without_credentials_if_there_are_none(variables, nobody):
    assert dict(google().options) == {"skip_signature": "true"}
    login = nobody / ".config" / "gcloud" / "application_default_credentials.json"
    login.parent.mkdir(parents=True)
    login.write_text("{}")
    assert google().options == ()
    login.unlink()
    variables(GOOGLE_APPLICATION_CREDENTIALS="/some/file.json")
    assert google().options == ()


def test_google_s_storage_is_not_written_without_credentials(write):
    """The client library would ask the metadata server of a cloud machine for them, and wait for it elsewhere."""
    from vertebra import PresetHandle

    pytest.importorskip("obstore")
    with pytest.raises(PresetAccessError, match="writing needs credentials; no credentials were"):
        GoogleSource().upload(PresetHandle("gs", "models/bert"), write({"config.json": b"{}"}), False, "message")


def test_azure_needs_an_account(variables):
    with pytest.raises(SettingsError, match="AZURE_STORAGE_ACCOUNT_NAME"):
        azure()
    variables(AZURE_STORAGE_ACCOUNT_NAME="acme")
    assert dict(azure().options) == {"skip_signature": "true"}
    variables(AZURE_STORAGE_ACCOUNT_KEY="c2VjcmV0")
    assert azure().options == ()
    variables(AZURE_STORAGE_ENDPOINT="https://acme.blob.example.org/")
    assert azure().endpoint == "https://acme.blob.example.org/"
    assert azure().options == (("endpoint", "https://acme.blob.example.org"),)


@pytest.mark.parametrize("url", ["acme.blob.example.org", "ftp://acme", "https://acme:key@example.org", "http://a b"])
def test_an_endpoint_of_azure_that_is_no_url_is_named(variables, url):
    variables(AZURE_STORAGE_ACCOUNT_NAME="acme", AZURE_STORAGE_ENDPOINT=url)
    with pytest.raises(SettingsError, match="AZURE_STORAGE_ENDPOINT") as raised:
        azure()
    assert url not in str(raised.value)


@pytest.mark.parametrize("source", [S3Source, GoogleSource, AzureSource])
def test_the_client_library_takes_the_settings(variables, source):
    from vertebra import PresetHandle

    pytest.importorskip("obstore")
    variables(**KEYS, AZURE_STORAGE_ACCOUNT_NAME="acme")
    made = source()
    assert made._buckets.open(PresetHandle(made.scheme, "models/bert"), "models")


def test_what_the_client_library_does_not_take_is_a_setting(variables):
    from vertebra import PresetHandle

    pytest.importorskip("obstore")
    variables(GOOGLE_SERVICE_ACCOUNT_KEY="{geheim}")
    with pytest.raises(SettingsError) as raised:
        GoogleSource().resolve_snapshot(PresetHandle("gs", "models/bert"))
    assert "geheim" not in str(raised.value)


def test_making_the_sources_imports_no_client():
    code = "import sys, vertebra_s3.source as s; s.S3Source(); print('obstore' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True, env=dict(os.environ)) == "False\n"
