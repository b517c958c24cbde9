"""The tokens of an image: the embeddings of its patches, with their positions, and the tokens in front of them."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable("vertebra_vit")
class PatchEmbedding(keras.layers.Conv2D):  # type: ignore[misc]
    """A convolution whose steps are as large as its kernel: a linear map of each patch.

    Raises:
        ValueError: in a call, the image is smaller than a patch.
    """

    def call(self, images: Any) -> Any:
        """Computes the output."""
        for size, step in zip(images.shape[1:3], self.kernel_size, strict=True):
            if isinstance(size, int) and size < step:
                shape, patch = tuple(images.shape[1:3]), self.kernel_size
                raise ValueError(f"The images have {shape} pixels, expected at least one patch of {patch} pixels.")
        return super().call(images)


@keras.saving.register_keras_serializable("vertebra_vit")
class ImageTokens(keras.layers.Layer):  # type: ignore[misc]
    """Adds positions to the patches of an image, in row-major order, and puts a class token and registers in front.

    The input are floats of shape `(batch, rows, columns, width)`, the output `(batch, tokens, width)`: the class token,
    the registers, and `rows * columns` patches. For another number of rows or columns than `grid`, the positions of the
    patches are interpolated by `resize_grid`. Registers have no positions (Darcet et al. 2023, arXiv:2309.16588).

    Args:
        grid: Rows and columns of the patches that the learned positions are for.
        use_class_token: Whether there is a class token, which has a position, too.
        num_register_tokens: Number of registers.
        use_mask_token: Whether there is the weight that replaces masked patches in DINOv2's pretraining. No input
            masks patches, so that it does not train; it is there for checkpoints.
        antialias: Whether positions are interpolated with a filter that grows with the scale.
        initializer_range: Standard deviation of the new class token and positions.
        **kwargs: The arguments of every Keras layer.
    """

    def __init__(
        self,
        grid: tuple[int, int],
        use_class_token: bool = True,
        num_register_tokens: int = 0,
        use_mask_token: bool = False,
        antialias: bool = False,
        initializer_range: float = 0.02,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.grid, self.antialias, self.initializer_range = tuple(grid), antialias, initializer_range
        self.use_class_token, self.use_mask_token = use_class_token, use_mask_token
        self.num_register_tokens = num_register_tokens

    @property
    def num_leading(self) -> int:
        """Number of tokens in front of the patches."""
        return int(self.use_class_token) + self.num_register_tokens

    def build(self, shape: Any) -> None:
        """Creates the weights, for inputs of a shape."""
        width, (rows, columns) = shape[-1], self.grid
        normal = keras.initializers.TruncatedNormal
        if self.use_class_token:
            self.class_token = self.add_weight(
                name="class_token", shape=(1, 1, width), initializer=normal(stddev=self.initializer_range)
            )
        self.position_embedding = self.add_weight(
            name="position_embedding",
            shape=(1, int(self.use_class_token) + rows * columns, width),
            initializer=normal(stddev=self.initializer_range),
        )
        if self.num_register_tokens:
            shape = (1, self.num_register_tokens, width)
            self.register_tokens = self.add_weight(name="register_tokens", shape=shape, initializer="zeros")
        if self.use_mask_token:
            self.mask_token = self.add_weight(name="mask_token", shape=(1, width), initializer="zeros", trainable=False)

    def call(self, patches: Any) -> Any:
        """Computes the output."""
        batch, rows, columns, width = ops.shape(patches)
        positions = ops.convert_to_tensor(self.position_embedding)
        first, of_patches = positions[:, : int(self.use_class_token)], positions[:, int(self.use_class_token) :]
        if (rows, columns) != self.grid:
            of_patches = resize_grid(of_patches, self.grid, (rows, columns), self.antialias)
        tokens = [ops.reshape(patches, (batch, rows * columns, width)) + of_patches]
        if self.num_register_tokens:
            tokens.insert(0, self._repeated(self.register_tokens, batch))
        if self.use_class_token:
            tokens.insert(0, self._repeated(self.class_token + first, batch))
        return ops.concatenate(tokens, axis=1) if len(tokens) > 1 else tokens[0]

    def _repeated(self, tokens: Any, batch: Any) -> Any:
        return ops.broadcast_to(tokens, (batch, *tokens.shape[1:]))

    def compute_output_spec(self, patches: Any) -> Any:
        """Returns shape and dtype of the output."""
        batch, rows, columns, width = patches.shape
        length = None if None in (rows, columns) else self.num_leading + rows * columns
        return keras.KerasTensor((batch, length, width), dtype=self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor."""
        config: dict[str, Any] = super().get_config()
        names = ("use_class_token", "num_register_tokens", "use_mask_token", "antialias", "initializer_range")
        return config | {"grid": self.grid} | {name: getattr(self, name) for name in names}


@keras.saving.register_keras_serializable("vertebra_vit")
class FeatureMap(keras.layers.Layer):  # type: ignore[misc]
    """Returns the tokens of patches as a map: `(batch, tokens, width)` becomes `(batch, rows, columns, width)`.

    Args:
        num_leading: Number of tokens in front of the patches, which are left out.
        **kwargs: The arguments of every Keras layer.
    """

    def __init__(self, num_leading: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.num_leading = num_leading

    def call(self, tokens: Any, patches: Any) -> Any:
        """Computes the output; `patches`, of shape `(batch, rows, columns, width)`, has its shape."""
        return ops.reshape(tokens[:, self.num_leading :], ops.shape(patches))

    def compute_output_spec(self, tokens: Any, patches: Any) -> Any:
        """Returns shape and dtype of the output."""
        return keras.KerasTensor(patches.shape, dtype=tokens.dtype)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor."""
        config: dict[str, Any] = super().get_config()
        return config | {"num_leading": self.num_leading}


def resize_grid(positions: Any, old: tuple[int, int], new: tuple[Any, Any], antialias: bool = False) -> Any:
    """Interpolates embeddings of positions between those of a grid, by cubic convolution (Keys 1981).

    Keras's own `ops.image.resize` uses other filters on other runtimes; the ones here are torch's, on all runtimes.

    Args:
        positions: Floats of shape `(1, rows * columns, width)`.
        old: Rows and columns of `positions`.
        new: Rows and columns of the result.
        antialias: Whether the filter grows with the scale, and has Keys's parameter -0.5, in place of -0.75.

    Returns:
        Floats of shape `(1, rows * columns, width)`, computed in float32, in the dtype of `positions`.
    """
    grid = ops.reshape(ops.cast(positions, "float32"), (*old, positions.shape[-1]))
    grid = ops.tensordot(_filters(old[0], new[0], antialias), grid, axes=[[1], [0]])
    grid = ops.tensordot(_filters(old[1], new[1], antialias), grid, axes=[[1], [1]])  # columns, rows, width
    grid = ops.transpose(grid, (1, 0, 2))
    return ops.cast(ops.reshape(grid, (1, new[0] * new[1], positions.shape[-1])), positions.dtype)


def _filters(old: int, new: Any, antialias: bool) -> Any:
    """Returns the share of each old position in each new one, of shape `(new, old)`."""
    scale = old / new
    centers = (ops.expand_dims(ops.arange(0, new, dtype="float32"), 1) + 0.5) * scale - 0.5
    rows = ops.arange(0, old, dtype="float32")
    if antialias:
        shares = _cubic((rows - centers) / (scale if scale > 1 else 1.0), -0.5)
        return shares / ops.sum(shares, axis=1, keepdims=True)
    taps = ops.floor(centers) + ops.arange(-1, 3, dtype="float32")
    shares = _cubic(centers - taps, -0.75)
    nearest = ops.clip(taps, 0, old - 1)  # outside the grid, its border counts
    is_tap = ops.cast(ops.equal(ops.expand_dims(nearest, 2), rows), "float32")
    return ops.sum(ops.expand_dims(shares, 2) * is_tap, axis=1)


def _cubic(distance: Any, a: float) -> Any:
    """Returns Keys's cubic convolution kernel (1981, IEEE TASSP 29(6), equation 15), with its parameter `a`."""
    x = ops.abs(distance)
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    return ops.where(x <= 1, near, ops.where(x < 2, far, ops.zeros_like(x)))
