"""The public names of KerasHub's backbones are names of ours, too."""

import pytest

from vertebra.backbone import Backbone

pytestmark = pytest.mark.keras(once=True)


def test_the_base_class_has_kerashubs_names(kerashub_peer):
    names = kerashub_peer("names", model="Backbone", config={})
    assert {"from_preset", "enable_lora", "export_to_transformers", "token_embedding"} <= set(names)
    ours = {*dir(Backbone), *Backbone.__annotations__}
    assert [name for name in names if name not in ours] == []


@pytest.mark.parametrize("architecture", ["bert", "roberta", "xlm-roberta", "distilbert", "gpt2", "gemma"])
def test_backbones_have_kerashubs_names(kerashub_peer, tiny, build, architecture):
    model, config = tiny(architecture)
    names = kerashub_peer("names", model=model, config=config)
    backbone = build(architecture)
    joined = {"embeddings"} if architecture in ("roberta", "xlm-roberta", "distilbert") else set()
    # One layer there is `token_embedding` and `position_embedding` here.
    assert {name for name in names if not hasattr(backbone, name)} == joined
