"""The cache of remote presets: its layout, downloading into it, and its maintenance."""
