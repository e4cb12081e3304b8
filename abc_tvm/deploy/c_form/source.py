"""The C of a network: a header, the file that calls the kernels, and an example program."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from abc_tvm._version import __version__
from abc_tvm.deploy.c_form.flatten import Call, Operand
from abc_tvm.deploy.c_form.plan import ALIGNMENT
from abc_tvm.errors import UnsupportedError, UserError
from abc_tvm.runtime.container import Port

_TYPES = {
    "float32": "float",
    "float64": "double",
    "int8": "int8_t",
    "int16": "int16_t",
    "int32": "int32_t",
    "int64": "int64_t",
    "uint8": "uint8_t",
    "uint16": "uint16_t",
    "uint32": "uint32_t",
    "uint64": "uint64_t",
    "bool": "uint8_t",
}
_KEYWORDS = """
auto break case char const continue default do double else enum extern float for goto if inline int
long main register restrict return short signed sizeof static struct switch typedef union unsigned
void volatile while
"""


@dataclass(frozen=True)
class Place:
    """Where an operand lies: in the arena, in the weights, or behind a pointer of the caller."""

    where: str
    """``arena``, ``weights``, ``in`` or ``out``."""
    at: int
    """Offset in bytes; for ``in`` and ``out`` the number of the port."""


@dataclass(frozen=True)
class CNetwork:
    """What the C needs to know.

    ``copies`` are outputs that no kernel writes where the caller wants them: port, place, bytes.
    ``finite`` asks for the check that float inputs are finite.
    """

    name: str
    target: str
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    calls: tuple[Call, ...]
    places: Mapping[Operand, Place]
    workspaces: Sequence[tuple[Place, ...]]
    copies: tuple[tuple[int, Place, int], ...]
    arena: int
    weights: int
    finite: bool


def identifier(text: str) -> str:
    """``text`` as the beginning of C names.

    Raises:
        UserError: Nothing of it can stand in one.
    """
    name = re.sub(r"[^A-Za-z0-9]+", "_", text).strip("_")
    if not name:
        raise UserError(f"name: {text!r} makes no name in C; give one with letters (--name)")
    return f"_{name}" if name[0].isdigit() or name in _KEYWORDS.split() else name


def header(network: CNetwork) -> str:
    """``NAME.h``: the function, and every size as a macro."""
    upper = network.name.upper()
    ports = []
    for side, group in (("IN", network.inputs), ("OUT", network.outputs)):
        ports.append(f"#define {upper}_{side}S {len(group)}")
        for number, port in enumerate(group):
            label = f"{upper}_{side}{number}"
            shape = ", ".join(str(d) for d in port.shape) or "1"
            ports += [
                f"#define {label}_NAME {_quoted(port.name)}",
                f"#define {label}_TYPE {c_type(port)}",
                f"#define {label}_RANK {len(port.shape)}",
                f"#define {label}_SHAPE {{{shape}}}",
                f"#define {label}_SIZE {elements(port)} /* elements */",
            ]
    return f"""\
/* {network.name}, compiled for {network.target} by abc-tvm {__version__}. Do not edit.
 *
 *     cc -O2 program.c {network.name}.c lib{network.name}.a -lm
 *
 * No heap, no threads, no runtime. The arena is static: calls must not overlap in time.
 */
#ifndef {upper}_H
#define {upper}_H

#include <stdint.h>

{chr(10).join(ports)}
#define {upper}_ARENA_BYTES {network.arena} /* static, zero-initialised */
#define {upper}_WEIGHTS_BYTES {network.weights} /* constant */

#define {upper}_OK 0
#define {upper}_NULL 1 /* a pointer is null */
#define {upper}_NOT_FINITE 2 /* an input is NaN or infinite: no bit can stand for it */

#ifdef __cplusplus
extern "C" {{
#endif

/* Runs the network once; arrays are dense, in C order, and must not overlap. Returns one of the
 * codes above; the outputs are written for {upper}_OK only. */
{_signature(network)};

#ifdef __cplusplus
}}
#endif

#endif
"""


def body(network: CNetwork) -> str:
    """``NAME.c``: the arena, and the kernels one after the other."""
    name, upper = network.name, network.name.upper()
    lines = [
        f"/* {name}, compiled for {network.target} by abc-tvm {__version__}. Do not edit. */",
        f'#include "{name}.h"',
        "",
        "#include <stddef.h>",
        "#include <string.h>",
        "",
    ]
    if network.weights:
        lines += [f"extern const unsigned char {name}_weights[];", ""]
    lines += [*_prototypes(network), ""]
    if network.arena:
        lines += [
            "/* Any alignment is correct; whole cache lines are faster. */",
            "#if defined(__GNUC__)",
            f"__attribute__((aligned({ALIGNMENT})))",
            "#endif",
            f"static unsigned char arena[{upper}_ARENA_BYTES];",
            "",
        ]
    checked = [n for n, p in enumerate(network.inputs) if network.finite and p.dtype == "float32"]
    if checked:
        lines += [_FINITE, ""]
    lines += [_signature(network), "{"]
    pointers = [*_names(network.inputs, "in"), *_names(network.outputs, "out")]
    missing = " || ".join(f"{p} == NULL" for p in pointers)
    lines += [f"    if ({missing})", f"        return {upper}_NULL;"]
    for number in checked:
        pointer = _names(network.inputs, "in")[number]
        lines += [
            f"    if (!all_finite({pointer}, {upper}_IN{number}_SIZE))",
            f"        return {upper}_NOT_FINITE;",
        ]
    lines += [
        f"    {_symbol(network, call)}({', '.join(_arguments(network, number))});"
        for number, call in enumerate(network.calls)
    ]
    for port, place, size in network.copies:
        out = _names(network.outputs, "out")[port]
        lines.append(f"    memcpy({out}, {_pointer(network, place)}, {size});")
    return "\n".join([*lines, f"    return {upper}_OK;", "}", ""])


def example(network: CNetwork) -> str:
    """``NAME_example.c``: raw files in, raw files out, and the time that it took."""
    name, upper = network.name, network.name.upper()
    statics, reads, writes = [], [], []
    for number, port in enumerate(network.inputs):
        statics.append(f"static {c_type(port)} in{number}[{upper}_IN{number}_SIZE];")
        reads.append(f"    transfer(argv[{1 + number}], in{number}, sizeof in{number}, 0);")
    for number, port in enumerate(network.outputs):
        statics.append(f"static {c_type(port)} out{number}[{upper}_OUT{number}_SIZE];")
        place = 1 + len(network.inputs) + number
        writes.append(f"    transfer(argv[{place}], out{number}, sizeof out{number}, 1);")
    arguments = [f"in{n}" for n in range(len(network.inputs))]
    arguments += [f"out{n}" for n in range(len(network.outputs))]
    fields = {
        "name": name,
        "usage": " ".join(
            [f"IN{n}.bin" for n in range(len(network.inputs))]
            + [f"OUT{n}.bin" for n in range(len(network.outputs))]
        ),
        "count": str(1 + len(arguments)),
        "statics": "\n".join(statics),
        "reads": "\n".join(reads),
        "writes": "\n".join(writes),
        "arguments": ", ".join(arguments),
    }
    return re.sub(r"@(\w+)@", lambda match: fields[match.group(1)], _EXAMPLE)


def c_type(port: Port) -> str:
    """The C type of an element.

    Raises:
        UnsupportedError: C has none.
    """
    if port.dtype not in _TYPES:
        raise UnsupportedError(f"{port.name!r}: {port.dtype} has no type in C; convert it first")
    return _TYPES[port.dtype]


def elements(port: Port) -> int:
    """How many elements a port of fixed shape has."""
    count = 1
    for extent in port.shape:
        count *= int(extent)
    return count


def _names(ports: Sequence[Port], base: str) -> list[str]:
    return [base] if len(ports) == 1 else [f"{base}{n}" for n in range(len(ports))]


def _signature(network: CNetwork) -> str:
    inputs = zip(network.inputs, _names(network.inputs, "in"), strict=True)
    outputs = zip(network.outputs, _names(network.outputs, "out"), strict=True)
    parameters = [f"const {c_type(port)} *{name}" for port, name in inputs]
    parameters += [f"{c_type(port)} *{name}" for port, name in outputs]
    return f"int {network.name}_run({', '.join(parameters) or 'void'})"


def _symbol(network: CNetwork, call: Call) -> str:
    return f"{network.name}_{call.kernel}"


def _prototypes(network: CNetwork) -> list[str]:
    constant: dict[str, list[bool]] = {}
    for number, call in enumerate(network.calls):
        read_only = [network.places[o].where in ("weights", "in") for o in call.operands]
        read_only += [False] * len(network.workspaces[number])
        earlier = constant.setdefault(_symbol(network, call), read_only)
        constant[_symbol(network, call)] = [a or b for a, b in zip(earlier, read_only, strict=True)]
    return [
        f"void {symbol}({', '.join('const void *' if c else 'void *' for c in flags)});"
        for symbol, flags in constant.items()
    ]


def _arguments(network: CNetwork, number: int) -> list[str]:
    places = [network.places[o] for o in network.calls[number].operands]
    return [_pointer(network, place) for place in (*places, *network.workspaces[number])]


def _pointer(network: CNetwork, place: Place) -> str:
    if place.where in ("in", "out"):
        ports = network.inputs if place.where == "in" else network.outputs
        return _names(ports, place.where)[place.at]
    base = "arena" if place.where == "arena" else f"{network.name}_weights"
    return f"{base} + {place.at}" if place.at else base


def _quoted(text: str) -> str:
    safe = "".join(c if 32 <= ord(c) < 127 and c not in '"\\' else "_" for c in text)
    return f'"{safe}"'


_FINITE = """\
/* By the bits, so that it holds under -ffast-math as well. */
static int all_finite(const float *x, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        uint32_t bits;
        memcpy(&bits, x + i, sizeof bits);
        if ((bits & UINT32_C(0x7f800000)) == UINT32_C(0x7f800000))
            return 0;
    }
    return 1;
}"""

_EXAMPLE = """\
/* Reads raw arrays, runs the network, writes raw arrays: a program to begin with.
 *
 *     cc -O2 @name@_example.c @name@.c lib@name@.a -lm -o @name@_example
 *     ./@name@_example @usage@ [REPEAT]
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "@name@.h"

@statics@

static void transfer(const char *path, void *data, size_t size, int writes)
{
    FILE *file = fopen(path, writes ? "wb" : "rb");
    size_t done = 0;
    if (file != NULL)
        done = writes ? fwrite(data, 1, size, file) : fread(data, 1, size, file);
    if (file == NULL || done != size || fclose(file) != 0) {
        fprintf(stderr, "%s: cannot %s %lu bytes\\n", path, writes ? "write" : "read",
                (unsigned long)size);
        exit(2);
    }
}

int main(int argc, char **argv)
{
    double best = 0;
    int repeat;
    if (argc != @count@ && argc != @count@ + 1) {
        fprintf(stderr, "usage: %s @usage@ [REPEAT]\\n", argv[0]);
        return 2;
    }
    repeat = argc > @count@ ? atoi(argv[@count@]) : 1;
@reads@
    for (int i = 0; i < repeat; i++) {
        clock_t start = clock();
        int code = @name@_run(@arguments@);
        double ms = 1e3 * (double)(clock() - start) / CLOCKS_PER_SEC;
        if (code != 0) {
            fprintf(stderr, "@name@_run: error %d (see @name@.h)\\n", code);
            return 1;
        }
        if (i == 0 || ms < best)
            best = ms;
    }
@writes@
    printf("least of %d runs: %.3f ms\\n", repeat, best);
    return 0;
}
"""
