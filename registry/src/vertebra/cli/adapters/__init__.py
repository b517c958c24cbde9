"""Further commands about adapters, which `vertebra.cli.lora` adds to its group."""
