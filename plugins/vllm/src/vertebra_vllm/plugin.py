"""The hook that contributes the command; vLLM calls `vertebra_vllm.registration`."""

from vertebra import CommandSpec, hookimpl


@hookimpl
def vertebra_commands() -> list[CommandSpec]:
    return [
        CommandSpec(
            "vllm-adapter",
            "resolve the name of an adapter as a vLLM server with vertebra-vllm does",
            "vertebra_vllm.command:add_arguments",
            "vertebra_vllm.command:SCHEMA",
        )
    ]
