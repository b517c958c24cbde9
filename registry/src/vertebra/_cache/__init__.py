"""The cache of all sources that are elsewhere: what is kept, how it gets there, and how it is tidied."""
