"""Built-in presets of ViT and DINOv2.

Ids and handles of `kaggle://` presets are those of KerasHub 0.32, and its copies on Hugging Face have the preset's
name. DINOv2's are also in the repositories of Meta on Hugging Face. Sizes are from `config.json`, and licences from the
model card, in the repositories on Hugging Face; parameters are those of the backbone.
"""

from vertebra import PresetSpec

# Id, version on Kaggle, parameters, layers, width, size of patches and images, and data.
_VIT_OF_KERASHUB = (
    ("vit_base_patch16_224_imagenet", 4, 85_798_656, 12, 768, 16, 224, "ImageNet-1k"),
    ("vit_base_patch16_384_imagenet", 4, 86_090_496, 12, 768, 16, 384, "ImageNet-1k"),
    ("vit_large_patch16_224_imagenet", 4, 303_301_632, 24, 1024, 16, 224, "ImageNet-1k"),
    ("vit_large_patch16_384_imagenet", 4, 303_690_752, 24, 1024, 16, 384, "ImageNet-1k"),
    ("vit_base_patch32_384_imagenet", 3, 87_528_192, 12, 768, 32, 384, "ImageNet-1k"),
    ("vit_large_patch32_384_imagenet", 3, 305_607_680, 24, 1024, 32, 384, "ImageNet-1k"),
    ("vit_base_patch16_224_imagenet21k", 3, 85_798_656, 12, 768, 16, 224, "ImageNet-21k"),
    ("vit_base_patch32_224_imagenet21k", 3, 87_455_232, 12, 768, 32, 224, "ImageNet-21k"),
    ("vit_huge_patch14_224_imagenet21k", 3, 630_764_800, 32, 1280, 14, 224, "ImageNet-21k"),
    ("vit_large_patch16_224_imagenet21k", 3, 303_301_632, 24, 1024, 16, 224, "ImageNet-21k"),
    ("vit_large_patch32_224_imagenet21k", 3, 305_510_400, 24, 1024, 32, 224, "ImageNet-21k"),
)
# Id, repository, parameters, layers, width, size of patches and images, data, and licence.
_VIT_OF_HUB = (
    (
        "vit_base_patch16_224",
        "google/vit-base-patch16-224",
        85_798_656,
        12,
        768,
        16,
        224,
        "ImageNet-21k, then ImageNet-1k",
        "Apache-2.0",
    ),
    (
        "vit_base_patch16_224_in21k",
        "google/vit-base-patch16-224-in21k",
        86_389_248,
        12,
        768,
        16,
        224,
        "ImageNet-21k; with a pooler",
        "Apache-2.0",
    ),
)
# Size, parameters, layers and width.
_DINOV2 = (
    ("small", 22_056_576, 12, 384),
    ("base", 86_580_480, 12, 768),
    ("large", 304_368_640, 24, 1024),
    ("giant", 1_136_480_768, 40, 1536),
)
_REGISTERS = 4


def _described(layers: int, width: int, patch: int, image: int, text: str) -> str:
    return f"{layers} layers of width {width}; patches of {patch} × {patch} pixels of {image} × {image}; {text}"


def _dinov2(registers: bool) -> tuple[PresetSpec, ...]:
    family, text = ("dinov2_with_registers", f"with {_REGISTERS} registers; ") if registers else ("dinov2", "")
    return tuple(
        PresetSpec(
            f"{family}_{size}",
            f"kaggle://keras/dinov2/keras/{family}_{size}/1",
            parameters + (_REGISTERS * width if registers else 0),
            _described(layers, width, 14, 518, f"{text}LVD-142M, without labels; Apache-2.0"),
            copies=(f"hf://keras/{family}_{size}", f"hf://facebook/{family.replace('_', '-')}-{size}"),
        )
        for size, parameters, layers, width in _DINOV2
    )


VIT_PRESETS = tuple(
    PresetSpec(
        name,
        f"kaggle://keras/vit/keras/{name}/{version}",
        parameters,
        _described(layers, width, patch, image, data),
        copies=(f"hf://keras/{name}",),
    )
    for name, version, parameters, layers, width, patch, image, data in _VIT_OF_KERASHUB
) + tuple(
    PresetSpec(name, f"hf://{repository}", parameters, _described(layers, width, patch, image, f"{data}; {licence}"))
    for name, repository, parameters, layers, width, patch, image, data, licence in _VIT_OF_HUB
)
DINOV2_PRESETS = _dinov2(False) + _dinov2(True)
