"""The classes of plugin authors: `LocalSource`, `PresetFormat`, `FileFormat`, `SignatureScheme` and `Runtime`.

`vertebra.translations` has the class of translations, and `vertebra.strategies` that of LoRA strategies. Subclasses are
final: to vary one, wrap it in another class.
Importing a subclass must not import a framework or a client library; its methods do that.
"""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from vertebra.errors import PresetAccessError
from vertebra.interfaces.formats import FileFormat as FileFormat
from vertebra.interfaces.formats import PresetFormat as PresetFormat
from vertebra.translations import Translation as Translation

if TYPE_CHECKING:
    import numpy as np

    from vertebra.handles import PresetHandle
    from vertebra.specs import Device, PresetFile


class PresetSource(ABC):
    """The common base of local and remote sources; subclass `LocalSource` or `RemoteSource`."""

    scheme: ClassVar[str]
    """The scheme of the handles that the source reads."""
    is_remote: ClassVar[bool]
    """Whether presets are downloaded into the cache; set by the two subclasses."""
    supports_revisions: ClassVar[bool] = False
    """Whether handles may name a revision."""
    supports_absolute_paths: ClassVar[bool] = False
    """Whether the path of a handle may begin with `/`; False for a source that joins the path to its own root."""
    revision_hint: ClassVar[str] = "Remove the revision"
    """What a user can do instead of giving a revision, for error messages."""

    def handle_for(self, text: str) -> PresetHandle | None:
        """Returns the handle of a text without a scheme, such as a path, that only this source reads; else None."""
        return None

    def suggest(self, text: str) -> str | None:
        """Returns a handle that a user may have meant by an invalid text, or None, for messages; uses no network."""
        return None

    def is_pinned(self, handle: PresetHandle) -> bool:
        """Returns whether a handle names an immutable revision; uses no network."""
        return self.supports_revisions and handle.revision is not None

    def unpinned(self, handle: PresetHandle) -> PresetHandle:
        """Returns the handle of the same preset without a revision."""
        return handle.without_revision()

    def transformers_name(self, handle: PresetHandle) -> str | None:
        """Returns the repository or path from which transformers loads a preset, or None; PEFT's folders name it."""
        return None

    def upload(self, handle: PresetHandle, files: Mapping[str, Path], replace: bool, message: str) -> PresetHandle:
        """Uploads files as a preset, completely or not at all, and returns its pinned handle.

        Args:
            handle: The target; it may have a revision, such as a branch, to publish under.
            files: Local paths by the file names in the preset.
            replace: Whether another preset at the handle may be replaced.
            message: Commit message, for services that store one.

        Raises:
            HandleError: the source cannot publish under the revision.
            PresetExistsError: another preset is at the handle, and `replace` is False.
            PresetAccessError: the user may not write there.
        """
        raise PresetAccessError(handle, f"presets cannot be uploaded to {self.scheme}://", "Choose another target")


class LocalSource(PresetSource):
    """A source whose files are on this machine and are read without a copy."""

    is_remote: ClassVar[bool] = False

    def resolve(self, handle: PresetHandle) -> PresetHandle:
        """Returns the pinned handle, so that all files of a load are of the same revision."""
        return handle

    @abstractmethod
    def files(self, handle: PresetHandle) -> list[PresetFile]:
        """Lists the files of a preset.

        Raises:
            PresetNotFoundError: there is no preset at the handle.
        """

    @abstractmethod
    def fetch(self, handle: PresetHandle, name: str) -> Path:
        """Returns the path of one complete file of a preset; the file stays while this process runs.

        Raises:
            PresetNotFoundError: the preset has no such file.
        """


class SignatureScheme(ABC):
    """A way to sign the files of a preset, and to verify such signatures, with keys in files.

    The core adds the signature to the preset as `model.sig`, checks which files it covers, and compares each file that
    is read with its signed digest.
    """

    name: ClassVar[str]

    @abstractmethod
    def sign(self, files: Mapping[str, Path], name: str, key: Path, certificates: Sequence[Path]) -> bytes:
        """Returns the signature of files.

        Args:
            files: The local path of each file, by its name in the preset.
            name: The name of the preset, which the signature may state.
            key: The file with the private key.
            certificates: Files with the certificate of the key, and then those between it and the root; may be empty.

        Raises:
            SignatureError: the key or a certificate cannot be used.
        """

    @abstractmethod
    def verify(self, signature: Path, keys: Sequence[Path]) -> Mapping[str, str]:
        """Returns the SHA-256 of each signed file, in hexadecimal, by its name.

        The signature may be hostile: verify it before anything in it is used.

        Args:
            signature: The file with the signature.
            keys: Files with the trusted public keys, and with the certificates of trusted roots.

        Raises:
            SignatureError: the signature is not valid, or was made with none of the keys.
        """


class Runtime(ABC):
    """The interface to one Keras backend."""

    name: ClassVar[str]
    """The backend's name in Keras."""
    compiles_each_shape: ClassVar[bool] = True
    """Whether it is worth while to compile for each shape of the inputs, and so to have few shapes; False for a
    backend that computes at once about as fast."""

    @abstractmethod
    def unavailable_reason(self) -> str | None:
        """Returns why the backend cannot be used here and the remedy, or None if it can. Imports no framework."""

    def import_keras(self) -> None:
        """Imports Keras on this backend, which the environment names already."""
        importlib.import_module("keras")

    def check_process(self) -> None:  # noqa: B027 (most backends can be used in any process)
        """Raises ForkedProcessError if the backend would wait for threads that a forked process does not have."""

    def check_weights(self, model: Any) -> None:  # noqa: B027 (most backends have no other parameters than variables)
        """Raises ReplacedWeightsError if the variables of a model do not have the values of its weights."""

    @abstractmethod
    def model_class(self) -> type:
        """Returns the base class of backbones: `keras.Model`, or a subclass with the methods that users expect.

        A method of the subclass that replaces weights does so in `with self.replacing_weights()`.
        """

    @abstractmethod
    def devices(self) -> list[Device]:
        """Returns the devices that the backend can use."""

    @abstractmethod
    def tensor(self, array: np.ndarray[Any, Any], dtype: str) -> Any:
        """Returns a tensor of the given Keras dtype that views the array's memory, or a copy where it cannot.

        The array may view a private mapping of a file: writing to the tensor must never reach the file.
        """

    @abstractmethod
    def snapshot(self, tensor: Any) -> Any:
        """Returns a copy of a variable's value that later changes of the variable do not affect.

        Immutable tensors are copied, too: training may release their memory, as JAX does.
        """

    def share(self, tensor: Any) -> Any:
        """Returns a further tensor with the value and the memory of another one, or None if tensors cannot share it.

        Nothing that is done with one of the two may change or end the other: they must be immutable, and training must
        not write to memory that they share.
        """
        return None

    def assign(self, variable: Any, tensor: Any) -> None:
        """Assigns a tensor's value to a variable; afterwards the variable shares memory with no other variable.

        If tensors are immutable, Keras's own `assign` makes the variable refer to the tensor; training may then release
        the tensor's memory, and with it the value of every other variable that refers to it.
        """
        variable.assign(self.snapshot(tensor))

    def is_tracing(self) -> bool:
        """Returns whether a function is being traced in this thread, so that values are not known yet."""
        return False

    @abstractmethod
    def can_view(self, start: int, contiguous: bool) -> bool:
        """Returns whether `tensor` can view values of the requested dtype at a byte position of a mapped file, in the
        order of the array (`contiguous`) or transposed or with gaps."""

    def dropout(self, inputs: Any, rate: float, generator: Any) -> Any:
        """Sets a share of the inputs, which are floats, to zero, and scales the others to keep the expected values.

        Args:
            rate: The share, in (0, 1); it may be rounded to a multiple of 2⁻¹⁶.
            generator: A `keras.random.SeedGenerator` that was created without a seed.
        """
        import keras

        return keras.random.dropout(inputs, rate, seed=generator)

    def attention(self, query: Any, key: Any, value: Any, mask: Any, bias: Any, scale: float) -> Any:
        """Computes attention without dropout, with the fastest kernel that there is.

        Args:
            query: Floats of shape `(batch, length, heads, width)`.
            key: Floats of the same shape.
            value: Floats of the same shape.
            mask: Bools that broadcast to `(batch, heads, length, length)`: whether a position attends to another; or
                None.
            bias: Floats of the query's dtype that broadcast to the same shape, and are added to the scores; or None.
            scale: The factor of the scores.
        """
        import keras

        return keras.ops.dot_product_attention(query, key, value, bias=bias, mask=mask, scale=scale)

    @abstractmethod
    def compile(self, backbone: Any) -> Callable[..., Any]:
        """Returns a compiled function of the backbone's inputs, for inference, without Python overhead at each layer.

        A second argument, `vertebra.layers.Tokens` or None, says which positions are computed: the function calls the
        backbone within `vertebra.layers.computing(tokens)`.

        It reads the backbone's weights at each call, so that it follows later training; it is traced again where it
        must be for other inputs.
        """

    def mesh_sizes(self, mesh: Any) -> Mapping[str, int] | None:
        """Returns the sizes of a mesh's axes by name, outermost first, or None if it is no mesh of this backend.

        Axes without names are called `axis_0`, `axis_1`, and so on.
        """
        return None

    def divide(
        self,
        mesh: Any,
        divided: Sequence[Sequence[str]],
        shape: Sequence[int],
        dtype: str,
        part: Callable[[tuple[slice, ...]], np.ndarray[Any, Any]],
    ) -> Any:
        """Returns a tensor of which each device of a mesh holds a part, or a whole copy.

        Args:
            mesh: A mesh of this backend.
            divided: For each axis of the tensor, the axes of the mesh along which it is divided, outermost first.
            shape: The shape of the whole tensor, whose divided axes are divisible.
            dtype: The Keras dtype.
            part: Returns the values of a part, which may view a mapped file; it is called only for the parts of this
                process's devices. The tensor views them where `tensor` would.
        """
        raise NotImplementedError(f"runtime {self.name!r} divides no tensors")

    def own_parts(self, tensor: Any) -> Sequence[tuple[tuple[slice, ...], np.ndarray[Any, Any]]]:
        """Returns the parts of a divided tensor that this process is to write when it is saved: indexes and values.

        Each part belongs to one process, so that those of all processes are the whole tensor, each number once.
        """
        raise NotImplementedError(f"runtime {self.name!r} divides no tensors")

    def process_of(self, mesh: Any) -> tuple[int, int]:
        """Returns this process's number among those of a mesh, from 0, and how many there are."""
        raise NotImplementedError(f"runtime {self.name!r} divides no tensors")

    def exchange(self, mesh: Any, message: bytes, seconds: float) -> list[bytes]:
        """Sends a short message to all processes of a mesh; returns everyone's, in the order of their numbers.

        Raises:
            TimeoutError: a process did not send its message within the time.
        """
        raise NotImplementedError(f"runtime {self.name!r} divides no tensors")

    def equalize(self, model: Any, variables: Sequence[Any]) -> None:  # noqa: B027 (one process has one value)
        """Gives variables that were added to a model on a mesh, such as an adapter's, its first process's values."""

    def sample(self, tensor: Any, step: int) -> np.ndarray[Any, Any]:
        """Returns every `step`-th value of a tensor in row-major order, of a divided one in each process."""
        import keras
        import numpy as np

        try:
            array = np.asarray(keras.ops.stop_gradient(tensor))  # shares memory where numpy can
        except (TypeError, RuntimeError):  # on another device, or a dtype that numpy lacks
            array = keras.ops.convert_to_numpy(tensor)
        return np.asarray(array.flat[::step])

    def write_slots(self, slots: Any, start: Any, values: Any) -> Any:
        """Returns a cache's slots with some of them written; it may write to the memory of `slots`.

        Args:
            slots: A tensor of shape `(batch, heads, slots, width)`.
            start: The first slot to write, an int32 tensor without axes.
            values: A tensor of the same shape and dtype but for the third axis, which is not longer.
        """
        import keras

        return keras.ops.slice_update(slots, (0, 0, start, 0), values)

    def compile_step(self, model: Any, step: Callable[[Any, Any], tuple[Any, Any]]) -> Callable[[], Callable[..., Any]]:
        """Returns a function that binds a step of a loop to the present variables of a model.

        The bound step is called as `(inputs, state) -> (outputs, state)`, any number of times, and may use the memory
        of the state that it gets for the one that it returns. Without a compiler, it is the step itself.

        Args:
            model: The model whose variables the step reads.
            step: A function of tensors, in any structure that `keras.tree` knows.
        """
        return lambda: step

    def pack(self, program: Callable[..., Any]) -> Callable[..., Any]:
        """Returns a function of `compile` or `compile_step` for weights that do not change as long as it is used.

        It may hold copies of the weights in another layout.
        """
        return program
