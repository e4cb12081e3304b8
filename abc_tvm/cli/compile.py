"""``abc-tvm compile``: from an ONNX file to one shared library."""

from __future__ import annotations

import warnings
from pathlib import Path

import click

from abc_tvm.cli import options
from abc_tvm.cli.console import layer_table, print_json, progress, size, summary, tables
from abc_tvm.errors import ArtifactError, RecordsError
from abc_tvm.files import check_writable


@click.command("compile")
@options.model
@options.target(required=True)
@click.option("-o", "--output", required=True, metavar="OUT.so", help="The file to write.")
@options.batch
@options.lowering
@click.option(
    "--records",
    metavar="DIR",
    help="Folder of tuning records (see tune). It goes before the records that ship.",
)
@click.option("--debug-dump", metavar="DIR", help="Write the graph after each pass to DIR.")
@options.as_json
def compile_(
    model: str,
    target: str,
    output: str,
    batch: int | None,
    lowering: str,
    records: str | None,
    debug_dump: str | None,
    as_json: bool,
) -> None:
    """Compile MODEL.onnx for a target into OUT.so."""
    from abc_tvm import api

    check_writable(output, ArtifactError)
    if records is not None and not Path(records).is_dir():
        raise RecordsError(f"{records}: there is no such folder of tuning records")
    with progress(f"compile {model}") as tell, warnings.catch_warnings():
        warnings.showwarning = lambda note, *_, **__: click.echo(f"abc-tvm: {note}", err=True)
        warnings.simplefilter("always", UserWarning)
        artifact = api.compile(
            model,
            target,
            batch=batch,
            lowering=lowering,
            debug_dump=debug_dump,
            records=records,
            progress=tell,
        )
        artifact.save(output)
    report = artifact.report
    console = tables(as_json)
    console.print(layer_table(report))
    console.print(summary(report))
    console.print(f"wrote {output} ({size(len(artifact.data))})", soft_wrap=True)
    if as_json:
        facts = {"model": model, "output": output, "bytes": len(artifact.data)}
        print_json({**facts, **report.json()})
