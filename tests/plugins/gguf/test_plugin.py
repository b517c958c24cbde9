"""The plugin contributes one format, and importing it is light."""

from vertebra import FileFormat
from vertebra_gguf.plugin import vertebra_formats


def test_it_contributes_the_format():
    (format,) = vertebra_formats()
    assert isinstance(format, FileFormat)
    assert (format.name, format.suffix) == ("gguf", ".gguf")


def test_a_header_is_read_without_numpy(python, tmp_path):
    import gguf_bytes

    (tmp_path / "model.gguf").write_bytes(gguf_bytes.gpt2())
    code = (
        "import sys, pathlib\n"
        "from vertebra_gguf.format import GgufFormat\n"
        "path = pathlib.Path('model.gguf')\n"
        "print(len(GgufFormat().header(path, memoryview(path.read_bytes())).tensors))\n"
        "assert not {'numpy', 'gguf', 'keras'} & set(sys.modules)\n"
    )
    assert python(["-c", code], cwd=tmp_path).stdout.strip() == b"16"
