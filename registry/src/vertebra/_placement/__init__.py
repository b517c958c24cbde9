"""Where the weights of a backbone are on a mesh of devices: from its layout, without a framework."""
