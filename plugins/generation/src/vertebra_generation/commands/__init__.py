"""The commands `vertebra generate` and `vertebra chat`."""
