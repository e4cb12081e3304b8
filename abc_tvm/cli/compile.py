"""``abc-tvm compile``: from an ONNX file to one shared library, or to a C library."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import click

from abc_tvm.cli import options
from abc_tvm.cli.console import layer_table, print_json, progress, size, summary, tables
from abc_tvm.cli.streams import say
from abc_tvm.errors import ArtifactError, RecordsError
from abc_tvm.file_kinds import ARTIFACT
from abc_tvm.files import check_output


@click.command("compile")
@options.model
@options.target(required=True)
@click.option("-o", "--output", required=True, metavar="OUT",
              help="The file to write, OUT.so; with --format c the folder.")  # fmt: skip
@click.option("--format", "form", type=click.Choice(["so", "c"]), default="so", show_default=True,
              help="so: for TVM's runtime; c: a C library without runtime and heap.")  # fmt: skip
@click.option("--name", help="With --format c: the beginning of all names. [default: MODEL]")
@options.batch
@options.lowering
@options.allow_int8
@options.records
@options.check
@click.option("--debug-dump", metavar="DIR", help="Write the graph after each pass to DIR.")
@options.as_json
def compile_(
    model: str,
    target: str,
    output: str,
    form: str,
    name: str | None,
    batch: int | None,
    lowering: str,
    allow_int8: float | None,
    records: str | None,
    check: bool,
    debug_dump: str | None,
    as_json: bool,
) -> None:
    """Compile MODEL.onnx for a target into OUT.so, or into a C library."""
    from abc_tvm import api

    if form == "so":
        check_output(output, ArtifactError, ARTIFACT, inputs=[model])
        if name is not None:
            raise click.UsageError("--name is for --format c")
    if records is not None and not Path(records).is_dir():
        raise RecordsError(f"{records}: there is no such folder of tuning records")
    facts: dict[str, Any] = {"model": model, "output": output}
    with progress(f"compile {model}") as tell, warnings.catch_warnings():
        warnings.showwarning = lambda note, *_, **__: say(note)
        warnings.simplefilter("always", UserWarning)
        if form == "c":
            library = api.compile_c(
                model,
                target,
                name=name,
                batch=batch,
                lowering=lowering,
                allow_int8=allow_int8,
                debug_dump=debug_dump,
                records=records,
                progress=tell,
                check=check,
            )
            library.save(output)
            report = library.report
            files = {file: len(data) for file, data in library.files.items()}
            facts |= {"files": files, "bytes": sum(files.values())}
            facts |= {"arena_bytes": library.arena, "constant_bytes": library.weights}
            memory = f", arena {size(library.arena)}, constants {size(library.weights)}"
        else:
            artifact = api.compile(
                model,
                target,
                batch=batch,
                lowering=lowering,
                allow_int8=allow_int8,
                debug_dump=debug_dump,
                records=records,
                progress=tell,
                check=check,
            )
            artifact.save(output)
            report = artifact.report
            facts["bytes"] = len(artifact.data)
            memory = ""
    console = tables(as_json)
    console.print(layer_table(report))
    console.print(summary(report))
    console.print(f"wrote {output} ({size(facts['bytes'])}{memory})", soft_wrap=True)
    if as_json:
        print_json({**facts, **report.json()})
