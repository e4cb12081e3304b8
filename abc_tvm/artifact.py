"""A compiled network in memory: the bytes of its one file, and what they say about themselves."""

from __future__ import annotations

import os
from dataclasses import dataclass

from abc_tvm.errors import ArtifactError
from abc_tvm.file_kinds import ARTIFACT
from abc_tvm.files import write_atomically
from abc_tvm.report import Layer, Report
from abc_tvm.runtime.container import Info


@dataclass(frozen=True)
class Artifact:
    """A compiled network; ``abc_tvm.compile`` makes it.

    ``data`` is the whole content of the ``.so`` file (see ``abc_tvm.runtime.container``).
    """

    data: bytes
    info: Info

    @property
    def report(self) -> Report:
        """What was compiled and how, layer by layer."""
        layers = tuple(Layer(**row) for row in self.info.layers)
        return Report(
            layers, self.info.target["name"], self.info.lowering, self.info.second_opinion
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the artifact to ``path``; the file appears whole or not at all.

        Raises:
            ArtifactError: The folder is missing, or the file cannot be written; its name does not
                end in ``.so``, which loaders ask for; or what is there is no artifact.
        """
        write_atomically(path, self.data, ArtifactError, ARTIFACT)
