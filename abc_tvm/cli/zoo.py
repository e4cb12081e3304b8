"""``abc-tvm zoo``: networks to try things on."""

from __future__ import annotations

import click

from abc_tvm.cli import options
from abc_tvm.cli.console import size, tables
from abc_tvm.errors import UserError
from abc_tvm.file_kinds import MODEL
from abc_tvm.files import check_output, write_atomically


@click.command()
@click.argument("name")
@click.option("-M", "m", type=int, default=1, show_default=True, help="Weight bases.")
@click.option("-N", "n", type=int, default=1, show_default=True, help="Activation bases.")
@click.option("-o", "--output", required=True, metavar="OUT.onnx", help="The file to write.")
@click.option("--float", "as_float", is_flag=True, help="The float network of this architecture.")
@click.option("--grid", is_flag=True, help="Scales that bytes hold exactly: powers of two apart.")
@click.option(
    "--image-size",
    "--size",
    type=int,
    help="Pixels of height and width, moments of sound, or tokens. [default: its own]",
)
@click.option(
    "--width", type=float, default=1.0, show_default=True, help="Multiplies the channels of layers."
)
@click.option("--batch", type=options.COUNT, help="Fixed batch. [default: symbolic]")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the random weights.")
def zoo(
    name: str,
    m: int,
    n: int,
    output: str,
    as_float: bool,
    grid: bool,
    image_size: int | None,
    width: float,
    batch: int | None,
    seed: int,
) -> None:
    """Write a network of architecture NAME, with random weights, to OUT.onnx.

    NAME is lenet, resnet8, resnet18, resnet34, resnet50 or bireal18; a published family in the
    spelling of its usual exporter, quicknet-small, quicknet, reactnet-a, meliusnet22, densenet28,
    realtobinary, boolnet18, dorefa-alexnet, binaryalexnet, irnet20, unet, tcresnet8 or transformer;
    or one of the trained networks that ship, lenet-mnist and resnet-fashion, which are what they
    are: they take no other option.
    """
    from abc_tvm import pretrained
    from abc_tvm import zoo as networks

    check_output(output, kind=MODEL)
    if name in pretrained.names():
        given = [as_float, grid, m != 1, n != 1, image_size, width != 1, batch, seed]
        if any(given):
            raise UserError(f"zoo: {name} is a trained network; it takes -o and no other option")
        data = pretrained.path(name).read_bytes()
        write_atomically(output, data, kind=MODEL)
        tables(False).print(f"wrote {output} ({size(len(data))})", soft_wrap=True)
        return
    open_batch = "N" if batch is None else batch
    if as_float:
        model = networks.build_float(
            name, image_size=image_size, batch=open_batch, seed=seed, width=width
        )
    else:
        model = networks.build(
            name, m, n, image_size=image_size, batch=open_batch, seed=seed, width=width, grid=grid
        )
    data = model.SerializeToString()
    write_atomically(output, data, kind=MODEL)
    tables(False).print(f"wrote {output} ({size(len(data))})", soft_wrap=True)
