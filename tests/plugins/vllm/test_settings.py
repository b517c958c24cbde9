"""The settings of the environment."""

import pytest

from vertebra.errors import SettingsError
from vertebra_vllm.registration import register
from vertebra_vllm.settings import Settings, read_settings


def test_nothing_is_allowed_without_settings(monkeypatch):
    assert read_settings({}) == Settings()
    register()  # returns before it imports vLLM


def test_all_settings(tmp_path):
    names = tmp_path / "names.toml"
    names.write_text('legal = "hf://acme/legal@v1"\n')
    found = read_settings(
        {
            "VERTEBRA_VLLM_NAMES": str(names),
            "VERTEBRA_VLLM_ALLOWED": "hf://acme/, s3://bucket",
            "VERTEBRA_VLLM_BASE": "hf://acme/base",
            "VERTEBRA_VLLM_MAX_BYTES": "1000",
            "VERTEBRA_VLLM_REQUIRE_FINGERPRINT": "1",
        }
    )
    expected = {"legal": "hf://acme/legal@v1"}, ("hf://acme/", "s3://bucket"), "hf://acme/base", 1000, True
    assert found == Settings(*expected)


@pytest.mark.parametrize(
    ("variable", "value", "problem"),
    [
        ("ALLOWED", "acme", "beginning of a handle"),
        ("ALLOWED", "hf://", "beginning of a handle"),
        ("MAX_BYTES", "many", "number of bytes"),
        ("MAX_BYTES", "0", "number of bytes"),
        ("REQUIRE_FINGERPRINT", "yes", "neither 1 nor 0"),
        ("NAMES", "nothing.toml", "cannot be read"),
    ],
)
def test_invalid_values_are_errors(variable, value, problem):
    with pytest.raises(SettingsError, match=problem):
        read_settings({f"VERTEBRA_VLLM_{variable}": value})


@pytest.mark.parametrize("text", ["legal =", "legal = 1", 'legal = ""'])
def test_invalid_files_of_names_are_errors(text, tmp_path):
    (tmp_path / "names.toml").write_text(text)
    with pytest.raises(SettingsError):
        read_settings({"VERTEBRA_VLLM_NAMES": str(tmp_path / "names.toml")})
