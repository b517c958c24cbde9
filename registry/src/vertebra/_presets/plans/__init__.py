"""Plans for many devices: the bytes of each, from the shapes of the weights and the layout of the architecture."""
