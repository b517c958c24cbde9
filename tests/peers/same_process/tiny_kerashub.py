"""Constructor arguments of a tiny model of each of KerasHub's backbone classes (0.32)."""

TEXT = {"vocabulary_size": 31, "num_layers": 2, "num_heads": 2, "hidden_dim": 16, "intermediate_dim": 24}
ENCODER = TEXT | {"max_sequence_length": 12}
DECODER = {name: value for name, value in TEXT.items() if name != "num_heads"}
DECODER |= {"num_query_heads": 2, "num_key_value_heads": 1}
HEADS = DECODER | {"head_dim": 8}
ESM = ENCODER
MIXTURE = DECODER | {"moe_intermediate_dim": 12, "num_experts": 2, "top_k": 1}
SEQ2SEQ = {
    f"{side}_{name}": value
    for side in ("encoder", "decoder")
    for name, value in {
        "hidden_dim": 16,
        "intermediate_dim": 24,
        "num_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 8,
        "layer_types": ["full_attention", "full_attention"],
    }.items()
} | {"vocabulary_size": 31}
SMOLLM = {
    "vocabulary_size": 31,
    "hidden_dim": 16,
    "intermediate_dim": 24,
    "num_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "attention_bias": False,
    "attention_dropout": 0.0,
    "rope_layer_enabled_list": [True, True],
    "layer_types": ["full_attention", "full_attention"],
    "mlp_bias": False,
    "layer_norm_epsilon": 1e-6,
    "max_position_embeddings": 32,
    "rope_theta": 10000.0,
    "partial_rotary_factor": 1.0,
}
VIT = {"image_shape": (16, 16, 3), "patch_size": 4, "num_layers": 2, "num_heads": 2, "hidden_dim": 16, "mlp_dim": 24}
DINO = {"patch_size": 4, "num_layers": 2, "hidden_dim": 16, "num_heads": 2, "intermediate_dim": 32}
DINO |= {"image_shape": (16, 16, 3)}
CSP = {
    "stem_filters": 8,
    "stem_kernel_size": 3,
    "stem_strides": 2,
    "stackwise_depth": [1, 1],
    "stackwise_strides": [1, 2],
    "stackwise_num_filters": [8, 16],
    "block_type": "dark_block",
    "stage_type": "csp",
    "block_ratio": [0.5],
    "image_shape": (32, 32, 3),
}
RESNET = {
    "input_conv_filters": [64],
    "input_conv_kernel_sizes": [7],
    "stackwise_num_filters": [64, 64, 64, 64],
    "stackwise_num_blocks": [1, 1, 1, 1],
    "stackwise_num_strides": [1, 2, 2, 2],
    "block_type": "basic_block",
    "image_shape": (64, 64, 3),
}
MIT = {
    "layerwise_depths": [1, 1],
    "num_layers": 2,
    "layerwise_num_heads": [1, 2],
    "layerwise_sr_ratios": [2, 1],
    "max_drop_path_rate": 0.1,
    "layerwise_patch_sizes": [7, 3],
    "layerwise_strides": [4, 2],
    "image_shape": (32, 32, 3),
    "hidden_dims": [8, 16],
}
EFFICIENTNET = {
    "stackwise_kernel_sizes": [3, 3],
    "stackwise_num_repeats": [1, 1],
    "stackwise_input_filters": [8, 8],
    "stackwise_output_filters": [8, 16],
    "stackwise_expansion_ratios": [1, 4],
    "stackwise_squeeze_and_excite_ratios": [0.25, 0.25],
    "stackwise_strides": [1, 2],
    "stackwise_block_types": ["v1", "v1"],
    "stackwise_force_input_filters": [0, 0],
    "stackwise_nores_option": [False, False],
    "stackwise_width_coefficients": [1.0, 1.0],
    "stackwise_depth_coefficients": [1.0, 1.0],
    "input_shape": (32, 32, 3),
}
HGNET = {
    "depths": [1, 1],
    "embedding_size": 8,
    "hidden_sizes": [8, 16],
    "stem_channels": [3, 8, 8],
    "hidden_act": "relu",
    "use_learnable_affine_block": False,
    "stackwise_stage_filters": [[8, 8, 8, 1, 1, 3], [8, 8, 16, 1, 1, 3]],
    "apply_downsample": [False, True],
    "use_lightweight_conv_block": [False, False],
    "image_shape": (32, 32, 3),
}
MOBILENET = {
    "stackwise_expansion": [[8], [8]],
    "stackwise_num_blocks": [1, 1],
    "stackwise_num_filters": [[8], [8]],
    "stackwise_kernel_size": [[3], [3]],
    "stackwise_num_strides": [[2], [1]],
    "stackwise_se_ratio": [[0.25], [None]],
    "stackwise_activation": [["relu"], ["hard_swish"]],
    "stackwise_padding": [[1], [1]],
    "output_num_filters": 16,
    "depthwise_filters": 8,
    "depthwise_stride": 2,
    "depthwise_residual": False,
    "last_layer_filter": 16,
    "squeeze_and_excite": 0.25,
    "input_num_filters": 8,
    "image_shape": (32, 32, 3),
}
SWIN = {"image_shape": (32, 32, 3), "embed_dim": 8, "depths": [1, 1], "num_heads": [1, 2], "window_size": 4}
XCEPTION = {
    "stackwise_conv_filters": [[8, 8], [8, 8]],
    "stackwise_pooling": [True, False],
    "image_shape": (32, 32, 3),
}
VITDET = {
    "hidden_size": 16,
    "num_layers": 2,
    "intermediate_dim": 24,
    "num_heads": 2,
    "global_attention_layer_indices": [1],
    "image_shape": (32, 32, 3),
    "patch_size": 4,
    "num_output_channels": 8,
    "window_size": 2,
}
FLUX = {
    "input_channels": 16,
    "hidden_size": 16,
    "mlp_ratio": 2.0,
    "num_heads": 2,
    "depth": 1,
    "depth_single_blocks": 1,
    "axes_dim": [2, 2, 4],
    "theta": 10000,
    "use_bias": True,
    "image_shape": (4, 16),
    "text_shape": (4, 16),
    "image_ids_shape": (4, 3),
    "text_ids_shape": (4, 3),
    "y_shape": (16,),
}
GEMMA3N = {
    "text_vocab_size": 31,
    "text_hidden_size": 16,
    "num_hidden_layers": 2,
    "pad_token_id": 0,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 8,
    "intermediate_size": [24, 24],
    "hidden_activation": "gelu_approximate",
    "layer_types": ["full_attention", "sliding_attention"],
    "sliding_window": 4,
    "rope_theta": 10000.0,
    "max_position_embeddings": 32,
    "vocab_size_per_layer_input": 31,
    "hidden_size_per_layer_input": 4,
    "altup_num_inputs": 2,
    "laurel_rank": 2,
}
PALIGEMMA = HEADS | {
    "image_size": 16,
    "vit_patch_size": 4,
    "vit_num_heads": 2,
    "vit_hidden_dim": 8,
    "vit_num_layers": 1,
    "vit_intermediate_dim": 16,
}
RWKV = {"hidden_size": 16, "head_size": 8, "num_layers": 2, "vocabulary_size": 31, "intermediate_dim": 24}
RWKV |= {"gate_lora": 4, "mv_lora": 4, "aaa_lora": 4, "decay_lora": 4}
VIDEO = {
    "num_frames": 2,
    "patch_size": 4,
    "hidden_dim": 16,
    "intermediate_dim": 24,
    "num_heads": 2,
    "num_spatial_layers": 1,
    "num_temporal_layers": 1,
    "num_auxiliary_layers": 1,
    "image_shape": (16, 16, 3),
}
MOONSHINE = {
    "vocabulary_size": 31,
    "filter_dim": 16,
    "encoder_num_layers": 1,
    "decoder_num_layers": 1,
    "hidden_dim": 16,
    "intermediate_dim": 24,
    "encoder_num_heads": 2,
    "decoder_num_heads": 2,
}
PLAIN = {
    "AlbertBackbone": ENCODER | {"embedding_dim": 8},
    "BartBackbone": ENCODER,
    "BertBackbone": ENCODER,
    "BloomBackbone": TEXT,
    "CSPNetBackbone": CSP,
    "DINOV2Backbone": DINO | {"position_embedding_shape": (16, 16, 3)},
    "DINOV3Backbone": DINO,
    "DebertaV3Backbone": ENCODER | {"bucket_size": 4},
    "DeiTBackbone": {name: value for name, value in VIT.items() if name != "mlp_dim"} | {"intermediate_dim": 24},
    "DenseNetBackbone": {"stackwise_num_repeats": [1, 1], "image_shape": (32, 32, 3), "growth_rate": 4},
    "DistilBertBackbone": ENCODER,
    "ESMBackbone": ESM,
    "EdRecBackbone": {"vocab_size": 31, "num_layers_enc": 1, "num_layers_dec": 1, "hidden_dim": 16}
    | {"intermediate_dim": 24, "num_heads": 2},
    "EfficientNetBackbone": EFFICIENTNET,
    "ElectraBackbone": {"vocab_size": 31, "embedding_dim": 8}
    | {name: value for name, value in ENCODER.items() if name != "vocabulary_size"},
    "FNetBackbone": {name: value for name, value in ENCODER.items() if name != "num_heads"},
    "FalconBackbone": {name: value for name, value in TEXT.items() if name != "num_heads"} | {"num_attention_heads": 2},
    "FluxBackbone": FLUX,
    "GPT2Backbone": ENCODER,
    "GPTNeoXBackbone": ENCODER,
    "GemmaBackbone": HEADS,
    "Gemma3Backbone": HEADS | {"image_size": 16},
    "Gemma3nBackbone": GEMMA3N,
    "Gemma4Backbone": HEADS | {"image_size": 16, "layer_types": ["full_attention", "sliding_attention"]},
    "GptOssBackbone": DECODER | {"num_experts": 2, "top_k": 1, "head_dim": 8},
    "HGNetV2Backbone": HGNET,
    "LlamaBackbone": DECODER,
    "Llama3Backbone": DECODER,
    "MiTBackbone": MIT,
    "MistralBackbone": DECODER,
    "MixtralBackbone": DECODER | {"num_experts": 2, "top_k": 1},
    "MobileNetBackbone": MOBILENET,
    "MoonshineBackbone": MOONSHINE,
    "OPTBackbone": ENCODER,
    "PaliGemmaBackbone": PALIGEMMA,
    "Phi3Backbone": DECODER,
    "QwenBackbone": DECODER,
    "Qwen3Backbone": HEADS,
    "Qwen3MoeBackbone": MIXTURE | {"head_dim": 8},
    "Qwen3_5Backbone": HEADS
    | {"linear_num_key_heads": 2, "linear_num_value_heads": 2}
    | {"linear_key_head_dim": 8, "linear_value_head_dim": 8},
    "Qwen3_5MoeBackbone": {name: value for name, value in MIXTURE.items() if name != "intermediate_dim"}
    | {"head_dim": 8, "shared_expert_intermediate_size": 12, "linear_num_key_heads": 2}
    | {"linear_num_value_heads": 2, "linear_key_head_dim": 8, "linear_value_head_dim": 8},
    "QwenMoeBackbone": MIXTURE | {"shared_expert_intermediate_dim": 12},
    "ResNetBackbone": RESNET,
    "RobertaBackbone": ENCODER,
    "RoformerV2Backbone": TEXT | {"head_size": 8},
    "RWKV7Backbone": RWKV,
    "SmolLM3Backbone": SMOLLM,
    "SwinTransformerBackbone": SWIN,
    "T5Backbone": TEXT,
    "T5GemmaBackbone": SEQ2SEQ,
    "T5Gemma2Backbone": SEQ2SEQ,
    "VGGBackbone": {"stackwise_num_repeats": [1, 1], "stackwise_num_filters": [8, 8], "image_shape": (16, 16, 3)},
    "VideoPrismBackbone": VIDEO,
    "ViTBackbone": VIT,
    "ViTDetBackbone": VITDET,
    "WhisperBackbone": TEXT | {"num_mels": 8, "max_encoder_sequence_length": 16, "max_decoder_sequence_length": 12},
    "XceptionBackbone": XCEPTION,
    "XLMRobertaBackbone": ENCODER,
    "XLNetBackbone": TEXT,
}


NESTED = ("DeepLabV3Backbone", "DepthAnythingBackbone", "PARSeqBackbone", "RetinaNetBackbone")
NESTED += ("SegFormerBackbone",)
"""Classes that are made of other models."""


def arguments(name):
    """Returns the constructor arguments of a class."""
    return PLAIN[name] if name in PLAIN else _nested(name)


def _nested(name):
    """Returns those of a class that is made of other models."""
    from keras_hub import models

    made = {
        "DeepLabV3Backbone": lambda: (
            {"image_encoder": models.ResNetBackbone(**RESNET)}
            | {"spatial_pyramid_pooling_key": "P4", "low_level_feature_key": "P2", "upsampling_size": 4}
            | {"dilation_rates": [6, 12], "image_shape": (64, 64, 3), "projection_filters": 8}
        ),
        "DepthAnythingBackbone": lambda: (
            {"image_encoder": models.DINOV2Backbone(**PLAIN["DINOV2Backbone"])}
            | {"reassemble_factors": [4, 2], "neck_hidden_dims": [8, 8], "fusion_hidden_dim": 8, "head_hidden_dim": 8}
            | {"head_in_index": -1, "feature_keys": ["stage1", "stage2"]}
        ),
        "PARSeqBackbone": lambda: (
            {"image_encoder": models.ViTBackbone(**VIT | {"use_class_token": False})}
            | {"vocabulary_size": 31, "max_label_length": 25, "decoder_hidden_dim": 16, "num_decoder_layers": 1}
            | {"num_decoder_heads": 2, "decoder_mlp_dim": 24}
        ),
        "RetinaNetBackbone": lambda: (
            {"image_encoder": models.ResNetBackbone(**RESNET), "min_level": 3}
            | {"max_level": 5, "use_p5": False, "image_shape": (64, 64, 3)}
        ),
        "SegFormerBackbone": lambda: {"image_encoder": models.MiTBackbone(**MIT), "projection_filters": 8},
    }
    return made[name]()
