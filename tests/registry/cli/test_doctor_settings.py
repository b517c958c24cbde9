"""The findings of `vertebra doctor` on settings."""

import os

import pytest

from vertebra._configuration import settings
from vertebra.cli import doctor_settings


@pytest.fixture
def machine(monkeypatch, tmp_path, configure):
    """The machine's file, to be written by a test."""
    path = tmp_path / "machine" / "config.toml"
    path.parent.mkdir()
    monkeypatch.setattr(doctor_settings, "MACHINE_CONFIG", path)
    return path


def said_of(subject):
    return [(ok, detail) for found, ok, detail in doctor_settings.examine_settings() if found == subject]


def test_a_file_is_used_or_does_not_exist(machine):
    assert (True, f"{machine} does not exist: the defaults apply") in said_of("machine settings")
    machine.write_text("")
    assert (True, f"{machine} is used") in said_of("machine settings")


def test_a_link_without_a_target_is_told(machine):
    machine.symlink_to("nothing")
    assert (False, f"{machine} is a dangling symbolic link") in said_of("machine settings")


def test_keys_of_signatures_must_be_there(configure, tmp_path):
    assert said_of("signatures") == []
    configure(VERTEBRA_REQUIRE_SIGNATURE="1")
    ((ok, detail),) = said_of("signatures")
    assert (ok, "signature_keys names no key" in detail) == (False, True)
    (tmp_path / "key.pem").write_text("key")
    configure(VERTEBRA_SIGNATURE_KEYS=f"{tmp_path / 'key.pem'},{tmp_path / 'gone.pem'}")
    assert [ok for ok, _ in said_of("signatures")] == [True, False]


def test_signatures_that_are_enforced_without_their_keys_are_told(machine, configure, monkeypatch, tmp_path):
    monkeypatch.setattr(settings, "MACHINE_CONFIG", machine)
    (tmp_path / "key.pem").write_text("key")
    machine.write_text("[enforced]\nrequire_signature = true\n")
    configure(VERTEBRA_SIGNATURE_KEYS=str(tmp_path / "key.pem"))
    assert said_of("signatures")[0][0] is False
    assert "users choose whose signatures they accept" in said_of("signatures")[0][1]
    machine.write_text(f"[enforced]\nrequire_signature = true\nsignature_keys = ['{tmp_path / 'key.pem'}']\n")
    configure()
    assert said_of("signatures") == [(True, f"{tmp_path / 'key.pem'} is a trusted key")]


def test_who_may_change_what_is_enforced(machine):
    machine.write_text("")
    machine.chmod(0o666)
    assert any(not ok and "change enforced settings" in detail for ok, detail in said_of("machine settings"))


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_a_file_for_all_users_must_be_readable_by_them(machine):
    machine.write_text("")
    machine.chmod(0o600)
    assert any(not ok and f"run: chmod a+r {machine}" in detail for ok, detail in said_of("machine settings"))
    machine.chmod(0o644)
    assert not any("cannot read" in detail for _, detail in said_of("machine settings"))
