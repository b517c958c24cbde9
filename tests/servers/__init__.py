"""Servers on the loopback interface that speak the protocols of storage services, for their real clients.

`http` holds the server that the others extend, `messages` what it receives and sends, `ranges` how a part of a file is
asked for, `sending` how an answer goes over a connection, and `faults` all that can go wrong with it. `hub` is a
Hugging Face Hub; `repositories` and `blobs` are what it keeps. `kaggle` and `modelscope` are the services of these
names.

`radosgw`, `oci_registry` and `azurite` start real services, which `programs` is for, and `proxy` gives them faults.
`transfers` and `conformance` are suites for the sources of all services.
"""
