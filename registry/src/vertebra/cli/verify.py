"""`vertebra verify [PRESET]`: replays a preset's parity certificate and checks its weights, or checks the lockfile."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from vertebra._discovery.backbone_classes import bind_any
from vertebra.cli.lock import add_lockfile_option, verify_lockfile
from vertebra.cli.output import plain_warnings, print_json
from vertebra.cli.terminal.streams import say
from vertebra.errors import CertificateError
from vertebra.file_names import CERTIFICATE

if TYPE_CHECKING:
    from vertebra._presets.certificate_header import Certificate
    from vertebra._presets.compare_checkpoints import Comparison
    from vertebra._presets.load import PreparedLoad
    from vertebra._resolve.preset_folder import PresetFolder
    from vertebra._weights.checkpoint import Checkpoint

_MOST_NAMES = 20


def add_commands(commands: Any) -> None:
    """Adds the command."""
    text = (
        "compute the outputs in a preset's parity certificate again, and report the difference; "
        "without a preset, compare the local files of locked presets with the lockfile"
    )
    parser = commands.add_parser("verify", help=text, description=text)
    parser.add_argument("preset", nargs="?", help="a preset id, a handle or a path")
    parser.add_argument("--runtime", help="runtime to compute on (default: the selected one, or any)")
    parser.add_argument("--dtype", help="dtype to compute in (default: Keras's dtype policy)")
    strict = "fail if a weight is NaN or infinite; the preset then needs no certificate"
    parser.add_argument("--strict-finite", action="store_true", help=strict)
    missing = "without a preset: files of locked presets that are not on this machine are no failure"
    parser.add_argument("--allow-missing", action="store_true", help=missing)
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_lockfile_option(parser)
    parser.set_defaults(run=_run, parser=parser)


def _run(args: argparse.Namespace) -> int:
    if args.preset is None:
        if args.runtime or args.dtype or args.strict_finite:
            args.parser.error("--runtime, --dtype and --strict-finite need a preset")
        return verify_lockfile(args.lockfile, args.json, args.allow_missing)
    if args.lockfile or args.allow_missing:
        args.parser.error("--lockfile and --allow-missing do not apply to a single preset: omit the preset")
    facts = verify_preset(args.preset, args.runtime, args.dtype, args.strict_finite)
    if args.json:
        print_json(facts)
    else:
        _print_facts(facts)
    return 1 if facts["holds"] is False or (args.strict_finite and facts["not_finite"]) else 0


def verify_preset(
    preset: str, runtime: str | None = None, dtype: str | None = None, certificate_optional: bool = False
) -> dict[str, Any]:
    """Loads a preset, replays its certificate, and returns the result and the non-finite tensors, as plain data.

    Args:
        preset: A preset id, a handle or a path, as for `from_preset`.
        runtime: Runtime to replay on, or None for the selected one, or any.
        dtype: Dtype to compute in, or None for Keras's dtype policy.
        certificate_optional: Whether a preset without a certificate is accepted; `holds` is then None.

    Raises:
        CertificateError: the preset has no certificate, or one of another architecture.
    """
    plain_warnings()
    from vertebra._formats.registry import read_description
    from vertebra._presets.compare_checkpoints import compare_checkpoints
    from vertebra._resolve.consistent_read import read_consistently
    from vertebra._weights.non_finite import not_finite

    overrides: dict[str, Any] = {} if dtype is None else {"dtype": dtype}
    name = ""

    def read(folder: PresetFolder) -> tuple[PreparedLoad, Checkpoint, Comparison | None]:
        nonlocal name
        if CERTIFICATE not in folder.names and not certificate_optional:
            raise _not_certified(folder)
        # later than the errors that need no framework
        name = bind_any(read_description(folder).backbone, runtime).name
        from vertebra._presets.load import prepare
        from vertebra.backbone import Backbone

        opened = prepare(folder, Backbone, overrides, verify=CERTIFICATE in folder.names)
        checkpoint = (opened.preset or opened.description.open()).mapped()
        return opened, checkpoint, compare_checkpoints(opened.description, checkpoint)

    opened, checkpoint, comparison = read_consistently(preset, read)
    facts: dict[str, Any] = {"handle": str(opened.description.folder.handle), "holds": None}
    facts["two_checkpoints"] = None if comparison is None else asdict(comparison) | {"text": str(comparison)}
    if opened.certificate is not None:
        facts |= _replayed(opened, opened.certificate, name, overrides)
    return facts | {"not_finite": not_finite(checkpoint)}


def _not_certified(folder: PresetFolder) -> CertificateError:
    """Returns the error for a preset without a certificate; a preset with two checkpoints has them compared."""
    from vertebra._formats.registry import read_description
    from vertebra._presets.certificate_header import not_certified
    from vertebra._presets.compare_checkpoints import compare_checkpoints

    error, description = not_certified(folder), read_description(folder)
    if description.not_read is not None:
        comparison = compare_checkpoints(description, description.open().mapped())
        error.add_note(f"The preset holds two checkpoints: {comparison}")
    return error


def _replayed(
    opened: PreparedLoad, certificate: Certificate, runtime: str, overrides: dict[str, Any]
) -> dict[str, Any]:
    from vertebra._presets.certificate import replay, replay_texts
    from vertebra._presets.certificate_header import TASK
    from vertebra._presets.load import build_prepared

    has_task = TASK in certificate.tensors.header.metadata
    ignore: Callable[[Any], None] | None = (lambda _: None) if has_task else None  # the task reads the head's tensors
    backbone = build_prepared(opened, overrides, ignore)
    opened.tell_observers()
    verdict = replay(backbone, certificate)
    limit = max(verdict.limits.values())
    texts = replay_texts(opened.description.folder, certificate, limit, overrides)
    of_task = {} if texts is None else texts.differences
    return {
        "saved_with": verdict.saved_with,
        "replayed_with": {"runtime": runtime, "dtype": str(backbone.compute_dtype)},
        "outputs": {
            name: {"difference": difference, "limit": verdict.limits[name]}
            for name, difference in verdict.differences.items()
        }
        | {name: {"difference": difference, "limit": limit} for name, difference in of_task.items()},
        "same_config": verdict.same_config,
        "texts": None if texts is None else asdict(texts),
        "holds": verdict.holds and (texts is None or texts.holds is not False),
    }


def _print_facts(facts: Mapping[str, Any]) -> None:
    if facts["holds"] is None:
        say(f"{facts['handle']}: no certificate")
    else:
        _print_verdict(facts)
    if facts["two_checkpoints"]:
        say(f"warning: the preset holds two checkpoints: {facts['two_checkpoints']['text']}")
    names = facts["not_finite"]
    if names:
        more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
        say(f"warning: NaN or infinity in {len(names)} weights: {', '.join(names[:_MOST_NAMES])}{more}")
    else:
        say("every weight is finite")


def _print_verdict(facts: Mapping[str, Any]) -> None:
    saved, replayed = (f"{way['runtime']} in {way['dtype']}" for way in (facts["saved_with"], facts["replayed_with"]))
    say(f"{facts['handle']}: saved with {saved}, replayed with {replayed}")
    for name, output in facts["outputs"].items():
        say(f"  {name:<16} relative difference {output['difference']:.1e} (limit {output['limit']:.0e})")
    if facts["texts"]:
        say(f"  {_text_verdict(facts['texts'])}")
    if not facts["same_config"]:
        say("  config.json has changed since the preset was certified")
    failed = "certificate DOES NOT HOLD: weights, tokenizer, code or runtime changed since the preset was saved"
    say("certificate holds" if facts["holds"] else failed)


def _text_verdict(texts: Mapping[str, Any]) -> str:
    """Returns a sentence about the texts of a certificate."""
    return str(texts["problem"] or f"the tokenizer makes the stored ids of {len(texts['texts'])} texts")
