"""Many devices in `vertebra plan`: options and output."""
