"""The suite for preset packs notices a preset that is not where its handle says."""

import pytest

from vertebra import PresetSpec
from vertebra.testing import PresetPackSuite

TEST = PresetPackSuite.test_local_presets_have_the_stated_parameters


@pytest.mark.parametrize("handle", ["package://vertebra/no_such_folder", "file://{tmp_path}/no_such_folder"])
def test_a_local_preset_that_is_missing_fails_with_its_path(handle, tmp_path):
    preset = PresetSpec("acme_base", handle.format(tmp_path=tmp_path), 10, "A preset")
    with pytest.raises(pytest.fail.Exception, match=r"preset 'acme_base'.*: No preset at .*/no_such_folder"):
        TEST(PresetPackSuite(), [preset])


def test_a_package_that_is_missing_fails():
    with pytest.raises(pytest.fail.Exception, match="preset 'acme_base': No preset at 'package://acme_gone/base'"):
        TEST(PresetPackSuite(), [PresetSpec("acme_base", "package://acme_gone/base", 10)])


def test_a_remote_preset_is_not_asked_for(toy):
    with pytest.raises(pytest.skip.Exception, match="all presets are of remote sources"):
        TEST(PresetPackSuite(), [PresetSpec("acme_base", "toy://missing", 10)])
