"""The files of tokenizers: reading and writing them in the formats of other libraries."""
