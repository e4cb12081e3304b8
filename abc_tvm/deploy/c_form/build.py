"""The C form of a lowered network, put together."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from abc_tvm.deploy.c_form import source
from abc_tvm.deploy.c_form.archive import Member, archive
from abc_tvm.deploy.c_form.elf import constant_object, machine_of
from abc_tvm.deploy.c_form.flatten import Flat, Operand, flatten
from abc_tvm.deploy.c_form.kernels import compile_kernels
from abc_tvm.deploy.c_form.plan import Life, aligned, plan
from abc_tvm.deploy.c_form.source import CNetwork, Place
from abc_tvm.errors import ArtifactError
from abc_tvm.file_kinds import like
from abc_tvm.files import check_output, make_folder, write_atomically
from abc_tvm.report import Report
from abc_tvm.runtime.container import Port
from abc_tvm.targets import Device


@dataclass(frozen=True)
class CForm:
    """``files`` are names and contents; ``arena`` and ``weights`` are bytes in memory."""

    name: str
    files: Mapping[str, bytes]
    arena: int
    weights: int
    report: Report

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write the files to ``folder``, which is created if need be.

        Raises:
            ArtifactError: It cannot be, or holds other files of these names.
        """
        path = make_folder(folder, ArtifactError)
        for name, data in self.files.items():
            check_output(path / name, ArtifactError, like(name, data))
        for name, data in self.files.items():
            write_atomically(path / name, data, ArtifactError)


def build(
    module: Any,
    device: Device,
    name: str,
    ports: tuple[tuple[Port, ...], tuple[Port, ...]],
    report: Report,
) -> CForm:
    """The C form of ``module``, which has been through all passes and has fixed shapes.

    Args:
        module: As ``abc_tvm.stages.apply`` leaves it.
        device: What the kernels are compiled for.
        name: Beginning of all symbols; see :func:`source.identifier`.
        ports: Inputs and outputs.
        report: What the compiler found; a binarized network refuses inputs that are not finite.

    Raises:
        UnsupportedError: The network needs TVM's runtime.
        TargetError: The C form is not made for the device.
    """
    machine = machine_of(device.triple)
    flat = flatten(module, device)
    kernels = compile_kernels(flat.kernels, device, f"{name}_")
    network, weights = _lay_out(
        flat, kernels.workspaces, name, device, ports, bool(report.binarized)
    )
    members = [
        Member("kernels.o", kernels.code, tuple(f"{name}_{kernel}" for kernel in flat.kernels))
    ]
    if weights:
        symbol = f"{name}_weights"
        members.append(Member("weights.o", constant_object(symbol, weights, machine), (symbol,)))
    files = {
        f"{name}.h": source.header(network).encode(),
        f"{name}.c": source.body(network).encode(),
        f"{name}_example.c": source.example(network).encode(),
        f"lib{name}.a": archive(members),
    }
    return CForm(name, files, network.arena, len(weights), report)


def _lay_out(
    flat: Flat,
    workspaces: Mapping[str, tuple[int, ...]],
    name: str,
    device: Device,
    ports: tuple[tuple[Port, ...], tuple[Port, ...]],
    binarized: bool,
) -> tuple[CNetwork, bytes]:
    """Places of all operands, and the weights."""
    inputs, outputs = ports
    places = {Operand("input", n): Place("in", n) for n in range(len(inputs))}
    weights = bytearray()
    for number, array in enumerate(flat.constants):
        places[Operand("constant", number)] = Place("weights", len(weights))
        data = array.tobytes()
        weights += data + bytes(aligned(len(data)) - len(data))
    direct = {
        result: port
        for port, result in enumerate(flat.results)
        if result.kind == "array" and flat.results.count(result) == 1
    }
    places.update({result: Place("out", port) for result, port in direct.items()})

    lives: list[Life] = []
    owners: list[Operand | tuple[int, int]] = []
    for operand, (first, last) in _spans(flat).items():
        if operand not in direct:
            lives.append(Life(flat.arrays[operand.number], first, last))
            owners.append(operand)
    for number, call in enumerate(flat.calls):
        for place, size in enumerate(workspaces[call.kernel]):
            lives.append(Life(size, number, number))
            owners.append((number, place))
    planned = plan(lives)
    extra: list[list[Place]] = [[] for _ in flat.calls]
    for owner, offset in zip(owners, planned.offsets, strict=True):
        if isinstance(owner, Operand):
            places[owner] = Place("arena", offset)
        else:
            extra[owner[0]].append(Place("arena", offset))
    sizes = [_port_bytes(port) for port in outputs]
    network = CNetwork(
        name=name,
        target=device.name,
        inputs=inputs,
        outputs=outputs,
        calls=tuple(flat.calls),
        places=places,
        workspaces=[tuple(item) for item in extra],
        copies=tuple(
            (port, places[result], sizes[port])
            for port, result in enumerate(flat.results)
            if result not in direct
        ),
        arena=planned.size,
        weights=len(weights),
        finite=binarized,
    )
    return network, bytes(weights)


def _spans(flat: Flat) -> dict[Operand, tuple[int, int]]:
    """First and last call that needs each array; results live to the end."""
    spans: dict[Operand, tuple[int, int]] = {}
    for number, call in enumerate(flat.calls):
        for operand in call.operands:
            if operand.kind == "array":
                spans[operand] = (spans.get(operand, (number, 0))[0], number)
    for result in flat.results:
        if result in spans:
            spans[result] = (spans[result][0], len(flat.calls))
    return spans


def _port_bytes(port: Port) -> int:
    import numpy as np

    return source.elements(port) * np.dtype(port.dtype).itemsize
