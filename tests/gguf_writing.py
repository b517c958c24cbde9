"""Writes presets of transformers as GGUF files, with the real `gguf` package.

The files are made as llama.cpp's converter makes them, with the table of names in the package.
"""

import json

from vertebra._weights.safetensors.format import MappedTensors

_KEYS = {
    "context_length": ("max_position_embeddings", "n_positions"),
    "embedding_length": ("hidden_size", "n_embd"),
    "feed_forward_length": ("intermediate_size", "n_inner"),
    "block_count": ("num_hidden_layers", "n_layer"),
    "head_count": ("num_attention_heads", "n_head"),
    "head_count_kv": ("num_key_value_heads",),
    "key_length": ("head_dim",),
    "layer_norm_rms_eps": ("rms_norm_eps",),
    "layer_norm_eps": ("layer_norm_epsilon",),
    "sliding_window": ("sliding_window",),
    "attn_logit_softcapping": ("attn_logit_softcapping",),
    "final_logit_softcapping": ("final_logit_softcapping",),
}
"""transformers' fields, by the methods of the writer."""
_NAMES = {"gemma3_text": "gemma3", "mistral": "llama"}


class Files:
    """Writes presets of transformers as GGUF files."""

    def write(self, preset, path, types=None, tokenizer=None, tensors=None, **fields):
        """Writes a preset.

        Args:
            preset: The folder of the preset.
            path: The file.
            types: Function from a name of GGUF to the name of a type, for matrices; None for float32.
            tokenizer: Function of the writer that adds a tokenizer, or None.
            tensors: Further tensors, by GGUF's names.
            **fields: Further fields of the architecture, by the methods of the writer.

        Returns:
            The values that a reader gets, in transformers' order, by transformers' names.
        """
        import gguf

        config = json.loads((preset / "config.json").read_text())
        name = _NAMES.get(config["model_type"], config["model_type"])
        writer = gguf.GGUFWriter(path, name)
        known = {key: next((config[one] for one in names if config.get(one)), None) for key, names in _KEYS.items()}
        rope = config.get("rope_parameters") or {}
        known["rope_freq_base"] = rope.get("rope_theta")
        for key, value in {**known, **fields}.items():
            if value is not None:
                getattr(writer, f"add_{key}")(value)
        if tokenizer is not None:
            tokenizer(writer)
        arch = next(arch for arch, text in gguf.MODEL_ARCH_NAMES.items() if text == name)
        names = gguf.get_tensor_name_map(arch, known["block_count"])
        for key, array in (tensors or {}).items():
            writer.add_tensor(key, array)
        decoded = {}
        for theirs, array in self.tensors(preset).items():
            ours = names.get_name(theirs, try_suffixes=(".weight", ".bias"))
            kind = types(ours) if types and array.ndim == 2 else "F32"
            decoded[theirs] = self._add(writer, ours, self._arranged(config, theirs, array), kind)
            decoded[theirs] = self._restored(config, theirs, decoded[theirs])
        for step in ("write_header_to_file", "write_kv_data_to_file", "write_tensors_to_file", "close"):
            getattr(writer, step)()
        return decoded

    @staticmethod
    def tensors(preset):
        mapped = MappedTensors(preset / "model.safetensors")
        return {name: mapped.view(name) for name in mapped.header.entries}

    @staticmethod
    def _add(writer, name, array, kind):
        import gguf
        import numpy as np

        quantisation = gguf.GGMLQuantizationType[kind]
        if kind == "F32":
            writer.add_tensor(name, np.ascontiguousarray(array, "float32"))
            return np.array(array, "float32")
        try:
            stored = gguf.quants.quantize(np.ascontiguousarray(array, "float32"), quantisation)
        except NotImplementedError:  # the package decodes some types only: these are random blocks
            stored = random_blocks(kind, array.shape)
        writer.add_tensor(name, stored, raw_dtype=quantisation)
        return gguf.quants.dequantize(stored, quantisation)

    @classmethod
    def _arranged(cls, config, name, array):
        """Returns a tensor as the converter writes it."""
        if config["model_type"].startswith("gemma") and name.endswith("norm.weight"):
            return array + 1
        if config["model_type"] == "gpt2" and array.ndim == 2 and ".h." in f".{name}":
            return array.T
        heads = cls._heads(config, name)
        if heads:
            return (
                array.reshape(heads, 2, array.shape[0] // heads // 2, *array.shape[1:])
                .swapaxes(1, 2)
                .reshape(array.shape)
            )
        return array

    @classmethod
    def _restored(cls, config, name, array):
        if config["model_type"].startswith("gemma") and name.endswith("norm.weight"):
            return array - 1
        if config["model_type"] == "gpt2" and array.ndim == 2 and ".h." in f".{name}":
            return array.T
        heads = cls._heads(config, name)
        if heads:
            return (
                array.reshape(heads, array.shape[0] // heads // 2, 2, *array.shape[1:])
                .swapaxes(1, 2)
                .reshape(array.shape)
            )
        return array

    @staticmethod
    def _heads(config, name):
        if config["model_type"] in ("llama", "mistral", "smollm3"):
            if ".q_proj." in name:
                return config["num_attention_heads"]
            if ".k_proj." in name:
                return config["num_key_value_heads"]
        return 0


def random_blocks(kind, shape):
    """Returns random blocks of a type for a matrix, with small scales: halves of float, by the published layouts."""
    import gguf
    import numpy as np

    block, size = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[kind]]
    random = np.random.default_rng(len(kind) * shape[0] + shape[1])
    count = shape[0] * shape[1] // block
    blocks = random.integers(0, 256, (count, size), "uint8")
    scales = np.full(count, 0.0005, "float16").view("uint8").reshape(count, 2)
    places = {"Q4_K": (0, 2), "Q5_K": (0, 2), "Q2_K": (80, 82), "Q3_K": (108,), "Q6_K": (208,)}[kind]
    for place in places:
        blocks[:, place : place + 2] = scales
    return blocks.reshape(shape[0], -1)
