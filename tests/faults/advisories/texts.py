"""Documents that are read without a framework: tokenizers, model cards, handles, and bombs of JSON and protobuf."""

import json
import shutil
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from faults.advisories.payload import GOLDEN, Operations, Payload, Site

from fuzz.targets.tokenizers import BERT, TOKENS, XLM

# === Tokenizers ===


def tokenizer(site: Site, config: Mapping[str, Any] = BERT) -> Path:
    """Writes a preset with a tokenizer."""
    preset = Path(shutil.copytree(site.presets["transformers"], site.folder / "preset"))
    (preset / "vocab.txt").write_text("".join(f"{token}\n" for token in TOKENS))
    (preset / "tokenizer_config.json").write_text(json.dumps(config))
    return preset


def encoding(preset: Path) -> Operations:
    """Returns operations that read and use the tokenizer of a preset, and describe the preset."""
    from vertebra._presets.inspect import inspect_preset
    from vertebra_text import Tokenizer

    def encode() -> None:
        read = Tokenizer.from_preset(preset)
        read.detokenize(read(["hello world"], max_length=8)["token_ids"])

    return encode, partial(inspect_preset, str(preset))


def with_template(file: str, template: str, site: Site) -> Operations:
    text = template.replace("FLAG", str(site.flag))
    field = [{"name": "default", "template": text}] if file == "list" else text
    preset = tokenizer(site, BERT | ({"chat_template": field} if file in ("list", "text") else {}))
    if file == "config.json":
        config = json.loads((preset / file).read_bytes())
        (preset / file).write_text(json.dumps(config | {"chat_template": text}))
    elif file not in ("list", "text"):
        (preset / file).parent.mkdir(exist_ok=True)
        (preset / file).write_text(json.dumps({"chat_template": text}) if file.endswith(".json") else text)
    return encoding(preset)


TEMPLATE_FILES = (
    *("list", "text", "config.json", "chat_template.jinja", "chat_template.json", "additional_chat_templates/a.jinja"),
    *("README.md", "processor_config.json"),
)


def templates(*texts: str) -> Iterator[Payload]:
    """Yields payloads in each file that holds a template of a chat."""
    for number, text in enumerate(texts):
        for file in TEMPLATE_FILES:
            write = partial(with_template, file, text)
            yield Payload(f"{file}, template {number}", write, True, keras=False, needs=("tokenizers",))


def with_tokenizer(config: Mapping[str, Any], site: Site) -> Operations:
    text = json.dumps(config).replace("SECRET", str(site.secret)).replace("URL", site.url)
    preset = tokenizer(site, json.loads(text))
    (preset / "tokenization_payload.py").write_text(f"open({str(site.flag)!r}, 'w')")
    return encoding(preset)


def tokenizers(*configs: Mapping[str, Any]) -> Iterator[Payload]:
    for config in configs:
        write = partial(with_tokenizer, BERT | dict(config))
        yield Payload(f"{json.dumps(config)} of a tokenizer", write, True, keras=False, needs=("tokenizers",))


def with_kerashub_tokenizer(config: Mapping[str, Any], site: Site) -> Operations:
    preset = Path(shutil.copytree(GOLDEN / "kerashub", site.folder / "preset"))
    assets = preset / "assets" / "tokenizer"
    assets.mkdir(parents=True)
    (assets / "vocabulary.txt").write_text("".join(f"{token}\n" for token in TOKENS))
    text = json.dumps(config).replace("SECRET", str(site.secret)).replace("URL", site.url)
    name = "BertTokenizer"
    envelope = {"module": "keras_hub.src.models.bert.bert_tokenizer", "class_name": name, "config": json.loads(text)}
    (preset / "tokenizer.json").write_text(json.dumps(envelope | {"registered_name": f"keras_hub>{name}"}))
    return encoding(preset)


def kerashub_tokenizers(*configs: Mapping[str, Any]) -> Iterator[Payload]:
    for config in configs:
        write = partial(with_kerashub_tokenizer, config)
        yield Payload(f"{json.dumps(config)} of KerasHub's tokenizer", write, True, keras=False, needs=("tokenizers",))


def with_pieces(data: bytes, site: Site) -> Operations:
    preset = tokenizer(site, XLM)
    (preset / "vocab.txt").unlink()
    (preset / "sentencepiece.bpe.model").write_bytes(data)
    return encoding(preset)


def nested(depth: int) -> bytes:
    """Returns a message in a message, and so on."""
    data = b""
    for _ in range(depth):
        length = len(data)
        size = b""
        while length > 127:
            size, length = size + bytes([length & 127 | 128]), length >> 7
        data = b"\x0a" + size + bytes([length]) + data
    return data


# === JSON ===

DIGITS, DEEP, LONG = "9" * 5_000, "[" * 100_000, "9" * 4_000_000


def document(name: str, text: str, site: Site) -> Operations:
    """Puts a text into a document as the value of a field."""
    from vertebra._lora.files.describe import describe_adapter
    from vertebra._presets.inspect import inspect_preset
    from vertebra._resolve.lockfile import read_lockfile

    if name == "vertebra.lock":
        path = site.folder / name
        path.write_text(f'{{"version": 1, "presets": {{}}, "plugins": {{"a": {text}}}}}')
        return [partial(read_lockfile, path)]
    if name == "adapter_config.json":
        adapter = Path(shutil.copytree(GOLDEN / "peft_lora", site.folder / "adapter"))
        config = (adapter / name).read_text()
        (adapter / name).write_text(config.replace("{", f'{{"a": {text},', 1))
        return [partial(describe_adapter, adapter)]
    if name in ("tokenizer.json", "tokenizer_config.json"):
        preset = tokenizer(site)
        (preset / name).write_text(f'{{"a": {text}}}')
        return encoding(preset)
    preset = Path(shutil.copytree(GOLDEN / "transformers_sharded", site.folder / "preset"))
    config = (preset / name).read_text()
    (preset / name).write_text(config.replace("{", f'{{"a": {text},', 1))
    return [partial(inspect_preset, str(preset))]


DOCUMENTS = (
    *("config.json", "model.safetensors.index.json", "adapter_config.json", "tokenizer.json"),
    *("tokenizer_config.json", "vertebra.lock"),
)


def documents(**texts: str) -> Iterator[Payload]:
    for kind, text in texts.items():
        for name in DOCUMENTS:
            needs = ("tokenizers",) if name.startswith("tokenizer") else ()
            yield Payload(f"{name}, {kind}", partial(document, name, text), keras=False, needs=needs)


# === Model cards ===

SYSTEM = "a: !!python/object/apply:os.system ['touch FLAG']"
NEW_TYPE = (
    "a: !!python/object/new:type\n  args: [z, !!python/tuple [], {extend: !!python/name:exec }]\n"
    "  listitems: open('FLAG', 'w')"
)


def with_card(file: str, text: str, site: Site) -> Operations:
    preset = tokenizer(site)
    filled = text.replace("FLAG", str(site.flag))
    (preset / file).write_text(f"---\n{filled}\n---\n# Card\n" if file.endswith(".md") else f"{filled}\n")
    return encoding(preset)


def cards(*texts: str) -> Iterator[Payload]:
    for number, text in enumerate(texts):
        for file in ("README.md", "config.yaml", "hparams.yaml"):
            write = partial(with_card, file, text)
            yield Payload(f"{file}, object {number}", write, True, keras=False, needs=("tokenizers",))


# === Handles ===


def of_handle(text: str, site: Site) -> Operations:
    """Returns what finds out what a handle means, and what describes its preset."""
    from vertebra._presets.inspect import inspect_preset
    from vertebra._resolve.candidates import candidate_handles

    filled = text.replace("OUTSIDE", str(site.outside))
    return partial(inspect_preset, filled), partial(candidate_handles, filled)


def handles(*texts: str) -> Iterator[Payload]:
    for text in texts:
        yield Payload(f"{text!r} as a handle", partial(of_handle, text), keras=False)


def once(text: str, path: str, site: Site) -> Operations:
    """Returns what decodes a handle, which must be done once."""
    from vertebra import PresetHandle

    def parse() -> None:
        assert PresetHandle.parse(text).path == path

    return [parse]


Found = dict[str, list[Payload]]


def of_documents() -> Found:
    execute = "{{ lipsum.__globals__['os'].popen('touch FLAG').read() }}"
    return {
        "CVE-2024-34359": [*templates(execute)],
        "CVE-2026-5760": [
            *templates("{{ ''.__class__.__mro__[1].__subclasses__() }}{{ cycler.__init__.__globals__ }}")
        ],
        "GHSA-46cm-pfwv-cgf8": [*templates("{% for x in (1, 2) %}{{ self.__init__.__globals__ }}{% endfor %}")],
        "CVE-2024-56326": [*templates("{% set f = '{0.__class__}'.format %}{{ [1] | map(f) | list }}")],
        "CVE-2025-27516": [*templates("{{ ('{0.__class__}' | attr('format'))(1) }}")],
        "CVE-2025-12058": [
            *kerashub_tokenizers(
                *({"vocabulary": value} for value in ("SECRET", "URL", "file://SECRET", ["SECRET"])),
                *({"proto": value} for value in ("SECRET", "URL")),
                *({"merges": value} for value in ("SECRET", "URL")),
            ),
            *tokenizers({"vocab_file": "SECRET"}, {"vocab_file": "URL"}, {"tokenizer_file": "SECRET"}),
        ],
        "CVE-2026-4372": [
            *tokenizers(
                {"auto_map": {"AutoTokenizer": ["tokenization_payload.T", None]}},
                {"auto_map": {"AutoTokenizer": ["nowhere/payload--tokenization_payload.T", None]}},
                {"trust_remote_code": True, "name_or_path": "URL"},
            )
        ],
        "CVE-2025-4565": [
            Payload(name, partial(with_pieces, data), keras=False, needs=("tokenizers",))
            for name, data in {
                "groups": b"\x0b" * 100_000,
                "messages": nested(20_000),
                "both": b"\x0b\x0a\x02" * 9_999,
            }.items()
        ],
        "CVE-2020-10735": [*documents(digits=DIGITS, negative=f"-{DIGITS}", millions=LONG)],
        "CVE-2024-27454": [*documents(lists=DEEP, objects='{"a":' * 100_000, closed=f"{DEEP}{']' * 100_000}")],
        "CVE-2021-4118": [*cards("a: !!python/name:os.system\nb: !!python/object/apply:os.system ['touch FLAG']")],
        "CVE-2017-18342": [*cards(SYSTEM)],
        "CVE-2020-1747": [
            *cards("a: !!python/object/new:tuple [!!python/object/new:map [!!python/name:open, ['FLAG']]]")
        ],
        "CVE-2020-14343": [*cards(NEW_TYPE)],
        "CVE-2021-37678": [*cards("class_name: Sequential\nconfig: !!python/object/apply:os.system ['touch FLAG']")],
    }


def of_handles() -> Found:
    hub = "https://huggingface.co"
    return {
        "CVE-2025-3777": [
            *handles(f"{hub}@evil.example/a/b", f"{hub}.evil.example/a/b", f"{hub}:443@evil.example/a/b"),
            *handles("hf://user:word@evil.example/a", f"{hub}\\@evil.example/a/b", f"{hub}%2eevil.example/a/b"),
        ],
        "CVE-2023-1176": [*handles("file:///a/../OUTSIDE", "file://../secret.txt")],
        "CVE-2023-1177": [*handles("hf://a/../../secret.txt", "s3://bucket/../../OUTSIDE")],
        "CVE-2023-2356": [*handles("hf://../x", "s3://bucket/a/../../../x")],
        "CVE-2023-2780": [*handles("file://localhost@OUTSIDE@", "file:///OUTSIDE/", "file:////OUTSIDE")],
        "CVE-2023-6831": [*handles("hf://a/%2e%2e/b", "s3://bucket/%2E%2E/x", "file:///%2e%2e/OUTSIDE")],
        "CVE-2023-6909": [*handles("s3://bucket/#/../../x", "hf://a/b#/../../x", "file:///a#/../OUTSIDE")],
        "CVE-2023-30172": [*handles("hf://a/..\\..\\x", "s3://bucket\\..\\x", "file:///..\\OUTSIDE")],
        "CVE-2024-1483": [*handles("s3://bucket/a#/x;%2e%2e/", "gs://bucket/a#;/../x")],
        "CVE-2024-1558": [*handles("hf://a/b;/../x", "s3://bucket/a;/%2e%2e/x")],
        "CVE-2024-1560": [
            Payload(f"{text!r} as a handle", partial(once, text, path), ignored=True, keras=False)
            for text, path in {"s3://b/%252e%252e/x": "b/%2e%2e/x", "hf://a/%252F..%2525": "a/%2F..%25"}.items()
        ],
        "CVE-2024-1594": [*handles("s3://bucket/a?b#/../x", "hf://a/b?x=/../y", "file:///a?/../OUTSIDE")],
        "CVE-2024-3848": [*handles("http://host.example/#/../../x", "file:///#/../OUTSIDE", "hf://a#../../x")],
        "CVE-2019-9636": [*handles(f"{hub}\u2100evil.example/a/b", f"{hub}\uff0fevil.example/a/b")],
        "CVE-2019-10160": [*handles("https://user\uff03@huggingface.co/a/b", f"{hub}\uff1aevil.example/a/b")],
        "CVE-2019-9740": [*handles("hf://a/b\r\nX: y", f"{hub}/a/b HTTP/1.1\r\nHost: evil.example")],
        "CVE-2019-9947": [*handles("hf://a/b?\nX: y", f"{hub}/a/b?x\r\nX: y")],
        "CVE-2023-24329": [
            *handles(f" {hub}@evil.example/a", f"\x0b{hub}/a/b", "\x00hf://a/b", "\x1bhttps://evil.example")
        ],
        "CVE-2021-42574": [*handles("hf://a/b\u202etxt", "hf://a\u2066/b")],
    }


def advisories() -> Found:
    """Returns the payloads by advisory."""
    return of_documents() | of_handles()
