"""``abc-tvm bundle``: a folder to copy to another machine."""

from __future__ import annotations

import click
from rich.table import Table

from abc_tvm.cli import options
from abc_tvm.cli.console import print_json, progress, size, tables


@click.command()
@click.argument("artifact", metavar="M.so", type=click.Path())
@click.option("-o", "--output", required=True, metavar="DIR", help="The folder to write.")
@click.option("--wheels", metavar="DIR", help="Take TVM's libraries from the wheels in DIR.")
@click.option("--download", is_flag=True, help="Fetch those wheels with pip.")
@click.option("--no-program", is_flag=True, help="Do not compile the C++ runner.")
@options.as_json
def bundle(
    artifact: str,
    output: str,
    wheels: str | None,
    download: bool,
    no_program: bool,
    as_json: bool,
) -> None:
    """Make a folder with M.so and what runs it: a Python script, and a C++ program."""
    from abc_tvm.deploy.bundle import bundle as make

    if wheels is not None and download:
        raise click.UsageError("give either --wheels DIR or --download")
    with progress(f"bundle {artifact}") as tell:
        files = make(
            artifact,
            output,
            wheels=wheels,
            download=download,
            program=not no_program,
            progress=tell,
        )
    table = Table(title=f"{output}: {size(sum(files.values()))}", title_justify="left")
    table.add_column("file")
    table.add_column("size", justify="right")
    for name, count in files.items():
        table.add_row(name, size(count))
    console = tables(as_json)
    console.print(table)
    if not any(name.startswith("lib/") for name in files):
        console.print(
            f"TVM's libraries are not in it yet: see {output}/README.txt, or give --download",
            soft_wrap=True,
        )
    if as_json:
        print_json({"artifact": artifact, "output": output, "files": files})
