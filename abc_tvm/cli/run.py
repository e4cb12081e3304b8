"""``abc-tvm run``: run a compiled network, and time it."""

from __future__ import annotations

import contextlib
from functools import partial

import click

from abc_tvm.cli import options
from abc_tvm.cli.arrays import read_arrays, write_arrays
from abc_tvm.cli.console import print_json, tables
from abc_tvm.errors import InputError
from abc_tvm.file_kinds import ARRAYS
from abc_tvm.files import check_output


@click.command()
@click.argument("artifact", metavar="OUT.so", type=click.Path())
@click.option("-i", "--input", "source", metavar="IN.npz", help="Inputs; keys are their names.")
@click.option("--random", "random", is_flag=True, help="Random inputs, always the same ones.")
@click.option("-o", "--output", metavar="OUT.npz", help="Write the outputs.")
@options.threads
@click.option("--repeat", type=options.COUNT, default=10, show_default=True,
              help="Measurements.")  # fmt: skip
@click.option("--number", type=options.COUNT, default=1, show_default=True,
              help="Runs that one measurement averages over.")  # fmt: skip
@click.option("--batch", type=options.COUNT, default=1, show_default=True,
              help="Images of --random, where the network leaves the batch open.")  # fmt: skip
@options.device
@options.as_json
def run(
    artifact: str,
    source: str | None,
    random: bool,
    output: str | None,
    threads: int | None,
    repeat: int,
    number: int,
    batch: int,
    rpc: str | None,
    rpc_tracker: str | None,
    rpc_key: str | None,
    rpc_timeout: float,
    as_json: bool,
) -> None:
    """Run the compiled network OUT.so and time it, here or on a remote device."""
    from abc_tvm import remote
    from abc_tvm.engines.onnx_engine import random_inputs
    from abc_tvm.measure.timing import alternate, take_turns
    from abc_tvm.runtime import Session, load, read_info

    if (source is None) == (not random):
        raise click.UsageError("give either -i IN.npz or --random")
    if output is not None:
        check_output(output, InputError, ARRAYS, [artifact, *([source] if source else [])])
    address = remote.read_address(rpc, rpc_tracker, rpc_key)
    with contextlib.ExitStack() as stack:
        session: Session | remote.RemoteNetwork
        if address is None:
            session = load(artifact, threads)
        else:
            read_info(artifact)  # a bad file is refused before a device is occupied
            device = stack.enter_context(remote.connect(address, rpc_timeout))
            session = device.load(artifact, threads)
        ports = session.info.inputs
        arrays = random_inputs(ports, batch) if source is None else read_arrays(source)
        try:
            outputs = session.run(arrays)
        except InputError as error:
            raise InputError(f"{source or 'random inputs'}: {error}") from error
        if isinstance(session, remote.RemoteNetwork):
            times = alternate({"run": partial(session.time, number)}, repeat)["run"]
        else:
            times = take_turns({"run": partial(session.run, arrays)}, repeat, number)["run"]
    if output is not None:
        write_arrays(output, outputs)
    where = "" if address is None else f", on {address}"
    console = tables(as_json)
    console.print(
        f"{artifact}: median {times.median_ms:.3f} ms, least {times.min_ms:.3f} ms "
        f"({repeat} x {number} runs, {session.threads} threads{where})",
        soft_wrap=True,
    )
    for name, array in outputs.items():
        console.print(f"  {name}: {array.dtype} {list(array.shape)}", soft_wrap=True)
    if as_json:
        print_json(
            {
                "artifact": artifact,
                "target": session.info.target["name"],
                "device": None if address is None else str(address),
                "median_ms": times.median_ms,
                "min_ms": times.min_ms,
                "repeat": repeat,
                "number": number,
                "threads": session.threads,
                "inputs": {name: list(array.shape) for name, array in arrays.items()},
                "outputs": {
                    name: {"shape": list(array.shape), "dtype": str(array.dtype)}
                    for name, array in outputs.items()
                },
            }
        )
