"""A module of a user whose code is wrong."""

Net = Base  # noqa: F821
