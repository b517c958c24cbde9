"""Methods of PEFT that are not computed here: the remedy says whether save_as_lora or merging makes them loadable."""

import pytest

from vertebra._lora.files.peft_methods import CONVERTIBLE, FIELDS, UNMERGEABLE, field_remedy, type_remedy


@pytest.mark.parametrize("method", sorted(CONVERTIBLE))
def test_an_additive_method_is_converted_or_merged(method):
    assert "save_as_lora(path, model, rank)" in type_remedy(method)
    assert "merge_and_unload" in type_remedy(method)


@pytest.mark.parametrize("method", ["IA3", "OFT", "ADALORA", "LN_TUNING", "A_METHOD_OF_THE_FUTURE"])
def test_another_method_is_merged(method):
    assert "save_as_lora cannot convert it" in type_remedy(method)
    assert "merge_and_unload" in type_remedy(method)


@pytest.mark.parametrize("method", sorted(UNMERGEABLE))
def test_a_method_that_changes_no_weights_is_run_with_peft(method):
    assert "PEFT cannot merge it" in type_remedy(method)
    assert "merge_and_unload" not in type_remedy(method)


@pytest.mark.parametrize("field", sorted(FIELDS))
def test_each_field_has_a_way_out(field):
    remedy = field_remedy(field)
    assert ("merge_and_unload" in remedy) != ("PEFT cannot merge it" in remedy)
