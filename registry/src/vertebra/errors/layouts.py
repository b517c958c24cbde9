"""Errors of meshes and layouts."""

from __future__ import annotations

from vertebra.errors.base import VertebraError, ended


class MeshError(VertebraError, ValueError):
    """A mesh cannot be used: it is of another backend, or an axis has no known use, or processes differ or are gone."""

    def __init__(self, problem: str, remedy: str) -> None:
        self.problem, self.remedy = problem, remedy
        super().__init__(f"The mesh cannot be used: {ended(problem)} {ended(remedy)}")


class LayoutError(VertebraError, ValueError):
    """The weights of a backbone cannot be divided as asked."""

    def __init__(self, backbone: str, problem: str, remedy: str) -> None:
        self.backbone, self.problem, self.remedy = backbone, problem, remedy
        super().__init__(f"{backbone} cannot be divided among devices: {ended(problem)} {ended(remedy)}")
