"""Levels that are moved between a step and its layer, against onnxruntime to the bit.

Each operator that only moves values stands between a step and a layer; and random chains of them,
of one step and of several, with scales between.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

import abc_tvm
from abc_tvm.checks.opinion.guard import STRICT
from abc_tvm.relay_passes.context import Context
from tests import qemu
from tests.end_to_end.judge import Compiled, assert_equal, reference
from tests.relay_passes.harness import Net, assert_same_bits

SHAPE = (2, 12, 4, 6)
Move = Callable[[Net, str], str]


def one_bit(net: Net, x: str) -> str:
    return net.step(x, 0.125)


def two_bits(net: Net, x: str) -> str:
    """0, 1, 2 or 3."""
    return net.op("Clip", net.op("Round", x), net.constant(0.0), net.constant(3.0))


def resize(mode: str, nearest: str, *scales: float) -> Move:
    def move(net: Net, x: str) -> str:
        sizes = net.constant([1.0, 1.0, *scales])
        return net.op("Resize", x, "", sizes, mode="nearest", nearest_mode=nearest,
                      coordinate_transformation_mode=mode)  # fmt: skip

    return move


def shuffle(net: Net, x: str) -> str:
    wide = net.op("Reshape", x, net.ints(0, 3, 4, 4, 6))
    return net.op("Reshape", net.op("Transpose", wide, perm=[0, 2, 1, 3, 4]), net.ints(0, 12, 4, 6))


def pad(mode: str, value: float | None = None) -> Move:
    def move(net: Net, x: str) -> str:
        widths = net.ints(0, 0, 1, 2, 0, 0, 0, 1)
        more = [] if value is None else [net.constant(value)]
        return net.op("Pad", x, widths, *more, mode=mode)

    return move


def cut(start: int, end: int, axis: int, step: int) -> Move:
    def move(net: Net, x: str) -> str:
        return net.op("Slice", x, *(net.ints(v) for v in (start, end, axis, step)))

    return move


def swapped_halves(net: Net, x: str) -> str:
    first, second = net.split(x, 2, axis=1)
    return net.op("Concat", second, first, axis=1)


def to_and_from(net: Net, x: str) -> str:
    rows = net.op("Flatten", x)
    return net.op("Reshape", rows, net.ints(-1, 12, 4, 6))


def unsqueezed(net: Net, x: str) -> str:
    wide = net.op("Unsqueeze", x, net.ints(2))
    return net.op("Squeeze", net.op("Identity", wide), net.ints(2))


def scaled_between(net: Net, x: str) -> str:
    half = net.op("Mul", net.op("Transpose", x, perm=[0, 1, 3, 2]), net.constant(0.5))
    return net.op("Tile", net.op("Neg", half), net.ints(1, 1, 2, 1))


MOVES: dict[str, Move] = {
    "reshape": lambda net, x: net.op("Reshape", x, net.ints(0, 6, 8, 6)),
    "reshape, open": lambda net, x: net.op("Reshape", x, net.ints(-1, 24, 4, 3)),
    "reshape, across rows": lambda net, x: net.op("Reshape", x, net.ints(0, 18, 2, 8)),
    "transpose": lambda net, x: net.op("Transpose", x, perm=[0, 2, 3, 1]),
    "flatten": to_and_from,
    "squeeze": unsqueezed,
    "shuffle": shuffle,
    "slice": cut(1, 11, 1, 3),
    "slice, backwards": cut(-1, -7, 3, -2),
    "gather": lambda net, x: net.op("Gather", x, net.ints(5, -1, 0, 0, 11), axis=1),
    "gather, rows": lambda net, x: net.op("Gather", x, net.ints(3, 1, 1), axis=2),
    "halves": swapped_halves,
    "depth to space": lambda net, x: net.op("DepthToSpace", x, blocksize=2, mode="DCR"),
    "depth to space, columns": lambda net, x: net.op("DepthToSpace", x, blocksize=2, mode="CRD"),
    "space to depth": lambda net, x: net.op("SpaceToDepth", x, blocksize=2),
    "larger": resize("asymmetric", "floor", 2, 3),
    "larger, half pixels": resize("half_pixel", "round_prefer_floor", 1.5, 2),
    "smaller": resize("asymmetric", "ceil", 0.5, 0.5),
    "tile": lambda net, x: net.op("Tile", x, net.ints(1, 2, 1, 2)),
    "expand": lambda net, x: net.op("Expand", cut(2, 3, 1, 1)(net, x), net.ints(1, 7, 1, 1)),
    "dropout": lambda net, x: net.op("Dropout", x),
    "edge": pad("edge"),
    "reflect": pad("reflect"),
    "a level": pad("constant", 1.0),
    "a level, then a cut": lambda net, x: cut(0, 4, 2, 1)(net, pad("constant", 1.0)(net, x)),
    "no width": lambda net, x: net.op("Pad", x, net.ints(*[0] * 8)),
    "scaled between": scaled_between,
    "pooled": lambda net, x: shuffle(
        net, net.op("MaxPool", x, kernel_shape=[3, 3], strides=[1, 1], pads=[1, 1, 1, 1])
    ),
}


def layer(
    name: str,
    step: Callable[[Net, str], str] = one_bit,
    batch: int = 2,
    open_batch: bool = False,
    kernel: int = 3,
) -> onnx.ModelProto:
    """A convolution that reads moved levels."""
    return behind(lambda net: MOVES[name](net, step(net, "input")), batch, open_batch, kernel)


def behind(
    build: Callable[[Net], str], batch: int = 2, open_batch: bool = False, kernel: int = 1
) -> onnx.ModelProto:
    """A layer as wide as what ``build`` gives."""
    first, net = (Net((batch, *SHAPE[1:])) for _ in range(2))
    inferred = onnx.shape_inference.infer_shapes(first.model(build(first)), data_prop=True)
    width = inferred.graph.output[0].type.tensor_type.shape.dim[1].dim_value
    layer = net.conv(build(net), net.signs(7, width, kernel, kernel), kernel // 2)
    return net.model(layer, open_batch)


def lowered(context: Context) -> list[str]:
    return [row.lowering for row in context.layers.values()]


FULL = [(name, lowering) for name in MOVES for lowering in ("bitserial", "int8", "float")]
SHORT = [(name, "bitserial") for name in MOVES]


@pytest.mark.sweep("case", short=SHORT, full=FULL)
def test_one_move(case: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    name, lowering = case
    monkeypatch.setenv(STRICT, "error")
    context = assert_same_bits(layer(name), lowering)
    assert "float" not in lowered(context) or lowering == "float"


@pytest.mark.parametrize("name", ["shuffle", "slice", "a level", "larger", "depth to space"])
def test_two_bits(name: str) -> None:
    for lowering in ("bitserial", "int8"):
        context = assert_same_bits(layer(name, two_bits), lowering)
        assert lowered(context) != ["float"]


@pytest.mark.parametrize("name", ["shuffle", "flatten", "reshape, open", "gather"])
def test_open_batch(name: str) -> None:
    context = assert_same_bits(layer(name, open_batch=True))
    assert lowered(context) == ["bitserial"]


@pytest.mark.parametrize("lowering", ["bitserial", "int8"])
def test_several_steps_of_different_levels(lowering: str) -> None:
    """-1 and 1 beside 0 and 1, pooled or not, and one of them twice."""

    def build(net: Net) -> str:
        stem = net.conv("input", np.eye(12, dtype=np.float32).reshape(12, 12, 1, 1))
        bits = net.op("Cast", net.op("Greater", "input", net.constant(0.5)), to=1)
        pooled = net.op("MaxPool", net.step("input"), kernel_shape=[3, 3], pads=[1, 1, 1, 1])
        x = shuffle(net, net.op("Mul", net.step(stem, 0.25), net.constant(1.0)))
        return net.op("Concat", x, bits, pooled, bits, axis=1)

    context = assert_same_bits(behind(build, kernel=3), lowering)
    # Without dot products of bytes there is no int8.
    assert lowered(context)[-1] in (lowering, "bitserial")


def test_several_readers() -> None:
    """One step, read as it is, shuffled, and as a vector."""
    net = Net(SHAPE)
    x = one_bit(net, "input")
    first = net.conv(x, net.signs(5, 12, 1, 1))
    second = net.conv(shuffle(net, x), net.signs(5, 12, 1, 1))
    rows = net.op("MatMul", net.op("Flatten", x), net.constant(net.signs(288, 5)))
    third = net.op("Reshape", rows, net.ints(2, 5, 1, 1))
    context = assert_same_bits(net.model(net.op("Sum", first, second, third)))
    assert "float" not in lowered(context)


def test_thresholds_of_one_tensor_side_by_side() -> None:
    """A thermometer code of the input, as FracBNN's: one root, many steps, one layer."""
    net = Net((1, 3, 5, 5))
    parts = [net.op("Cast", net.op("GreaterOrEqual", "input", net.constant(t / 4)), to=1)
             for t in range(-10, 10)]  # fmt: skip
    x = net.op("Concat", *parts, axis=1)
    context = assert_same_bits(net.model(net.conv(x, net.signs(6, 60, 3, 3), 1)))
    assert lowered(context) == ["bitserial"]


@pytest.mark.parametrize("lowering", ["bitserial", "int8"])
@pytest.mark.parametrize("axis", [2, 3])
def test_along_rows_and_columns(axis: int, lowering: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps of different levels, one above or beside the other, and one of them pooled."""
    monkeypatch.setenv(STRICT, "error")

    def build(net: Net) -> str:
        pooled = net.op("MaxPool", net.step("input"), kernel_shape=[3, 3], pads=[1, 1, 1, 1])
        bits = net.op("Cast", net.op("Greater", "input", net.constant(0.5)), to=1)
        return net.op("Concat", net.step("input", 0.5), bits, pooled, axis=axis)

    context = assert_same_bits(behind(build, kernel=3), lowering)
    assert "float" not in lowered(context)


@pytest.mark.parametrize("lowering", ["bitserial", "int8"])
@pytest.mark.parametrize("shuffled", [False, True])
def test_pooled_behind_moves(
    shuffled: bool, lowering: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Steps side by side and shuffled, pooled all at once; and read before the pool as well."""
    monkeypatch.setenv(STRICT, "error")
    net = Net(SHAPE)
    bits = net.op("Cast", net.op("Greater", "input", net.constant(0.5)), to=1)
    x = net.op("Concat", net.step("input", 0.125), bits, axis=1)
    x = net.op("Gather", x, net.ints(*np.random.default_rng(0).permutation(24)), axis=1)
    pooled = net.op("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    pooled = net.op("Gather", pooled, net.ints(3, 0, 23, 7), axis=1) if shuffled else pooled
    first = net.conv(pooled, net.signs(7, 4 if shuffled else 24, 1, 1))
    second = net.conv(x, net.signs(7, 24, 3, 3), 1, strides=[2, 2])
    context = assert_same_bits(net.model(net.op("Add", first, second)), lowering)
    assert "float" not in lowered(context)


@pytest.mark.parametrize("size", [(3, 3), (5, 2)])
@pytest.mark.parametrize("stride", [1, 2])
def test_pools_of_pools(
    size: tuple[int, int], stride: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A spatial pyramid of signs: pool after pool, and all of them side by side."""
    monkeypatch.setenv(STRICT, "error")
    net = Net((2, 12, 7, 9))
    border = [size[0] // 2, size[1] // 2, (size[0] - 1) // 2, (size[1] - 1) // 2]

    def pooled(x: str, step: int = 1) -> str:
        strides = [step, step]
        return net.op("MaxPool", x, kernel_shape=list(size), strides=strides, pads=border)

    x = one_bit(net, "input")
    first = pooled(x)
    second = pooled(first)
    third = pooled(second)
    whole = net.op("Concat", x, first, second, third, axis=1)
    one = net.conv(whole, net.signs(5, 48, 1, 1), strides=[stride] * 2)
    two = net.conv(pooled(second, stride), net.signs(5, 12, 1, 1))
    context = assert_same_bits(net.model(net.op("Add", one, two)))
    assert lowered(context) == ["bitserial"] * 2


def test_levels_by_rows_and_pooled() -> None:
    """Thresholds of rows: no channels for a step, whatever pools and moves follow."""
    net = Net(SHAPE)
    shift = net.constant(np.linspace(-1, 1, 4, dtype=np.float32).reshape(1, 1, 4, 1))
    pooled = net.op("MaxPool", net.step(net.op("Add", "input", shift)), kernel_shape=[2, 2])
    turned = net.op("Transpose", pooled, perm=[0, 2, 1, 3])
    layers = [net.conv(pooled, net.signs(7, 12, 3, 3), 1), net.conv(turned, net.signs(7, 3, 1, 1))]
    flat = [net.op("ReduceMean", x, axes=[2, 3], keepdims=0) for x in layers]
    assert_same_bits(net.model(net.op("Add", *flat)))


def test_images_are_not_mixed() -> None:
    """What goes from image to image stays float."""
    net = Net(SHAPE)
    x = net.op("Transpose", one_bit(net, "input"), perm=[1, 0, 2, 3])
    context = assert_same_bits(net.model(net.conv(x, net.signs(5, 2, 1, 1))))
    assert lowered(context) == ["float"]


@pytest.mark.parametrize("target", ["native", "rpi4"])
@pytest.mark.parametrize("name", ["shuffle", "a level, then a cut"])
def test_in_c(name: str, target: str, tmp_path: Path) -> None:
    """The same numbers from C, on this machine and on an emulated one."""
    model = layer(name, two_bits)
    x = (np.random.default_rng(0).integers(-8, 9, SHAPE) / 4).astype(np.float32)
    compiler = "gcc" if target == "native" else qemu.cross_compiler("aarch64")
    emulator = [] if target == "native" else qemu.emulator("aarch64")
    abc_tvm.compile_c(model, target, name="net", lowering="bitserial").save(tmp_path)
    x.tofile(tmp_path / "in.bin")
    sources = ["net_example.c", "net.c", "libnet.a", "-lm", "-o", "example"]
    qemu.run([compiler, "-std=c99", "-O2", *sources], tmp_path)
    qemu.run([*emulator, "./example", "in.bin", "out.bin"], tmp_path)
    (wanted,) = reference(model, {"input": x})
    found = np.fromfile(tmp_path / "out.bin", np.float32).reshape(wanted.shape)
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("factors", [[1.0, 2.0], [1.0, -1.0], [-1.0, -1.0], [0.0, 1.0]])
@pytest.mark.parametrize("step", [one_bit, two_bits])
@pytest.mark.parametrize("sense", [1.0, -1.0])
def test_pooled_and_scaled(
    factors: list[float], step: Callable[[Net, str], str], sense: float
) -> None:
    """A pooled level turned round in some channels is a minimum there, and no maximum."""

    def build(net: Net) -> str:
        x = step(net, net.op("Mul", "input", net.constant(sense)))
        pooled = net.op("MaxPool", x, kernel_shape=[2, 2], strides=[1, 1])
        return shuffle_pairs(net, net.op("Mul", pooled, net.channels(factors * 6)))

    def shuffle_pairs(net: Net, x: str) -> str:
        return net.op("Gather", x, net.ints(*range(11, -1, -1)), axis=1)

    assert_same_bits(behind(build, kernel=3))


def random_network(seed: int, kinds: int = 8) -> onnx.ModelProto:
    """Steps of one or two tensors, put together, and up to five moves in a row.

    ``kinds``: 10 for max-pools and signs by channel among them.
    """
    rng = np.random.default_rng(seed)
    channels = int(rng.choice([1, 3, 4, 8, 31, 32, 33, 64]))
    size = [int(rng.choice([1, 2, 3, 4, 6])) for _ in range(2)]
    net = Net((int(rng.choice([1, 2, 3])), channels, *size))
    parts = []
    for _ in range(int(rng.choice([1, 1, 2, 3]))):
        shift = net.channels(rng.integers(-4, 5, channels) / 8)
        y = net.op("Add", "input", shift)
        parts.append((one_bit if rng.random() < 0.6 else two_bits)(net, y))
    x, shape = parts[0], [net.shape[0], channels, *size]
    if len(parts) > 1:
        x, shape[1] = net.op("Concat", *parts, axis=1), channels * len(parts)
    for _ in range(int(rng.integers(1, 6))):
        x, shape = random_move(net, rng, x, shape, kinds)
    return net.model(net.conv(x, net.signs(5, shape[1], 1, 1)))


def random_move(
    net: Net, rng: np.random.Generator, x: str, shape: list[int], kinds: int
) -> tuple[str, list[int]]:
    kind = int(rng.integers(0, kinds))
    axis = int(rng.integers(1, 4))
    new = list(shape)
    if kind == 0:
        order = [0, *(1 + rng.permutation(3)).tolist()]
        return net.op("Transpose", x, perm=order), [shape[i] for i in order]
    if kind == 1:
        total = int(np.prod(shape[1:]))
        first = int(rng.choice([d for d in range(1, total + 1) if total % d == 0]))
        second = int(
            rng.choice([d for d in range(1, total // first + 1) if total // first % d == 0])
        )
        new = [shape[0], first, second, total // first // second]
        return net.op("Reshape", x, net.ints(*new)), new
    if kind == 2:
        start = int(rng.integers(0, shape[axis]))
        end = int(rng.integers(start + 1, shape[axis] + 1))
        new[axis] = end - start
        return cut(start, end, axis, 1)(net, x), new
    if kind == 3:
        new[axis] = int(rng.integers(1, 2 * shape[axis] + 1))
        index = rng.integers(-shape[axis], shape[axis], new[axis])
        return net.op("Gather", x, net.ints(*index.tolist()), axis=axis), new
    if kind == 4:
        widths = rng.integers(0, 3, 4).tolist()
        new[2] += widths[0] + widths[2]
        new[3] += widths[1] + widths[3]
        sides = net.ints(0, 0, widths[0], widths[1], 0, 0, widths[2], widths[3])
        return net.op("Pad", x, sides, mode="edge"), new
    if kind == 5 and int(np.prod(shape)) < 8000:
        times = [1, 1, 1, 1]
        times[axis] = 2
        new[axis] *= 2
        return net.op("Tile", x, net.ints(*times)), new
    if kind == 6 and shape[2] % 2 == 0 and shape[3] % 2 == 0:
        new = [shape[0], shape[1] * 4, shape[2] // 2, shape[3] // 2]
        return net.op("SpaceToDepth", x, blocksize=2), new
    if kind == 8:
        size = [min(2, shape[2]), min(2, shape[3])]
        new[2:] = [length - one + 1 for length, one in zip(shape[2:], size, strict=True)]
        return net.op("MaxPool", x, kernel_shape=size), new
    if kind == 9:
        signs = rng.choice(np.float32([-1, 1]), shape[1])
        return net.op("Mul", x, net.channels(signs)), new
    return net.op("Mul", x, net.constant(0.5)), new


CHAINS = [(seed, kinds) for kinds in (8, 10) for seed in range(200)]


@pytest.mark.sweep("case", short=[*CHAINS[:8], *CHAINS[200:208]], full=CHAINS)
def test_random_chains(case: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(STRICT, "error")
    seed, kinds = case
    model = random_network(seed, kinds)
    dims = model.graph.input[0].type.tensor_type.shape.dim
    shape = [d.dim_value for d in dims]
    x = {"input": (np.random.default_rng(seed).integers(-8, 9, shape) / 4).astype(np.float32)}
    for lowering in ("bitserial", "int8"):
        made = Compiled(model, lowering)
        assert_equal(made.run(x), reference(model, x), True, (seed, lowering))


def truth(op_type: str) -> Move:
    def build(net: Net, x: str) -> str:
        return net.op(op_type, x, net.op("Mul", x, x))

    return build


def xor(net: Net, x: str) -> str:
    sides = [net.op("Greater", x, net.constant(at)) for at in (0.0, 1.0)]
    return net.op("Xor", *sides)


def place(net: Net, x: str) -> str:
    """Which of two neighbouring channels is larger, as in a learnable binarizer."""
    pairs = net.op("Reshape", x, net.ints(0, 6, 2, 4, 6))
    return net.op("ArgMax", net.op("Softmax", pairs, axis=2), axis=2, keepdims=0)


def powers(net: Net, x: str) -> str:
    """Powers of two: a logarithm, rounded."""
    octave = net.op("Log", net.op("Abs", net.op("Add", x, net.constant(0.125))))
    whole_octave = net.op("Round", net.op("Mul", octave, net.constant(1.4426950216293335)))
    clipped = net.op("Clip", whole_octave, net.constant(-2.0), net.constant(1.0))
    return net.op("Pow", net.constant(2.0), clipped)


def attention(net: Net, x: str) -> str:
    """Softmax in quarters."""
    return net.op("Round", net.op("Mul", net.op("Softmax", x, axis=1), net.constant(4.0)))


def whole(net: Net, x: str) -> str:
    return net.op("Cast", x, to=onnx.TensorProto.INT64)


NO_FLOATS: dict[str, Move] = {
    "greater of two": truth("Greater"),
    "equal": truth("Equal"),
    "xor": xor,
    "bools are equal": lambda n, x: n.op("Equal", xor(n, x), n.op("Less", x, n.constant(0.5))),
    "place": place,
    "powers": powers,
    "attention": attention,
    "whole": lambda n, x: n.op("Sign", whole(n, x)),
    "half of whole": lambda n, x: n.op("Sign", n.op("Div", whole(n, x), n.ints(2))),
}


@pytest.mark.parametrize("moved", [False, True])
@pytest.mark.parametrize("name", NO_FLOATS)
def test_levels_of_bools_and_integers(name: str, moved: bool) -> None:
    """Moved before they become floats, or not."""
    net = Net((2, 12, 4, 6))
    x = NO_FLOATS[name](net, net.op("Round", net.op("Mul", "input", net.constant(2.0))))
    if moved:
        x = net.op("Transpose", x, perm=[0, 1, 3, 2])
    levels = net.op("Cast", x, to=onnx.TensorProto.FLOAT)
    model = net.model(net.conv(levels, net.signs(5, 6 if name == "place" else 12, 3, 3), pad=1))
    context = assert_same_bits(model)
    assert [row.lowering for row in context.layers.values()] == ["bitserial"]
    report = abc_tvm.compile(model, "native", lowering="bitserial").report
    if name != "half of whole":  # it says nothing of quotients of integers
        assert report.second_opinion == {"checked": 1, "unknown": {}, "wrong": {}}


def test_an_input_of_bools(rng: np.random.Generator) -> None:
    net = Net((2, 4, 6, 6))
    model = net.model(net.conv(net.op("Cast", "input", to=1), net.signs(5, 4, 3, 3)))
    model.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.BOOL
    x = {"input": rng.random((2, 4, 6, 6)) < 0.5}
    made = Compiled(model)
    assert [layer.lowering for layer in made.layers] == ["bitserial"]
    assert_equal(made.run(x), reference(model, x), True, "bools")
    report = abc_tvm.compile(model, "native", lowering="bitserial").report
    assert report.second_opinion == {"checked": 1, "unknown": {}, "wrong": {}}
