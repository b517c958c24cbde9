"""The hook that contributes the signatures."""

from vertebra import SignatureScheme, hookimpl
from vertebra_signing.scheme import ModelSigning


@hookimpl
def vertebra_signatures() -> list[SignatureScheme]:
    return [ModelSigning()]
