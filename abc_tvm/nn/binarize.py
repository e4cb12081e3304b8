"""Turn an ordinary torch CNN into an ABC network.

Every convolution and dense layer but the first and the last gets M weight bases, begun from its
float weights (ABC-Net, NIPS 2017, Algorithm 1), and N activation bases in front. What stands
between a layer and its binarized input is put into the paper's order, *max-pool, batch
normalization, activation bases*:

1. the rectifier goes: the step functions take its place. Where others read it too (the shortcut
   of a residual block), they keep it;
2. a max-pool behind the batch normalization moves in front of it;
3. where there is no batch normalization, one is added: the shifts v_n expect a normalized input,
   and the compiler merges it into the thresholds. Behind an Add it normalizes the sum;
4. layers that read the same tensor share its activation bases.

The network must be trained again: this is where training begins, not where it ends.
"""

from __future__ import annotations

import copy
from collections.abc import Container, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from rich.console import Console
from rich.table import Table
from torch import fx, nn

from abc_tvm.errors import InputError, UnsupportedError
from abc_tvm.nn import graph as g
from abc_tvm.nn.activation import ABCActivation
from abc_tvm.nn.conv import ABCConv2d
from abc_tvm.nn.linear import ABCLinear
from abc_tvm.nn.weight import ABCWeight

SUMMARY = "abc_conversions"


@dataclass(frozen=True)
class Conversion:
    """What became of one layer.

    Attributes:
        name: the module's name in the network.
        op: ``"Conv2d"``, ``"Linear"`` or another class that was met.
        shape: of its weight.
        converted: whether it has binary bases now.
        reason: why not; or, if it has, what was changed in front of it.
    """

    name: str
    op: str
    shape: tuple[int, ...]
    converted: bool
    reason: str


def binarize(
    model: nn.Module,
    M: int,
    N: int,
    skip: Sequence[str] = (),
    *,
    keep_first: bool = True,
    keep_last: bool = True,
    per_channel: bool = False,
    train_u: bool = False,
    grid: bool = False,
    verbose: bool = True,
) -> fx.GraphModule:
    """A new network with ABC layers; ``model`` stays as it is.

    Args:
        model: any module that ``torch.fx`` can trace, with or without trained weights.
        M: weight bases of each converted layer.
        N: activation bases of each binarized tensor.
        skip: names of modules that stay float; ``*`` and ``?`` are wildcards.
        keep_first, keep_last: leave the first, the last layer float, as is usual.
        per_channel: one α for every output channel.
        train_u: train the shifts of the weight bases.
        grid: train α and β as multiples of a power of two, for int8 layers
            (see :mod:`abc_tvm.nn.grid`).
        verbose: print :func:`summary` as a table on stderr.

    Raises:
        InputError: M or N is below 1, or a name in ``skip`` matches no layer.
        UnsupportedError: the network cannot be traced, or it has no layer to convert.
    """
    for name, count in (("M", M), ("N", N)):
        if count < 1:
            raise InputError(f"{name} is {count}: give at least one basis")
    network = g.trace(copy.deepcopy(model))
    plan = _plan(network, skip, keep_first, keep_last)
    if None not in plan.values():
        whys = "; ".join(f"{name}: {reason}" for name, reason in list(plan.items())[:4])
        raise UnsupportedError(f"{type(model).__name__}: no layer to convert ({whys or 'none'})")
    chosen = {name for name, reason in plan.items() if reason is None}
    rewriter = _Rewriter(network, N, chosen, grid)
    rows: dict[str, Conversion] = {}
    for node in list(network.graph.nodes):
        name = str(node.target)
        if node.op != "call_module" or name not in plan:
            continue
        reason = plan[name]
        layer = network.get_submodule(name)
        if name in chosen:
            if name not in rows:  # a module that is called twice is converted once
                network.set_submodule(name, _convert(layer, M, per_channel, train_u, grid))
            reason = rewriter.binarize_input(node)
        shape = tuple(getattr(layer, "weight").shape)  # noqa: B009
        row = Conversion(name, _class(layer), shape, name in chosen, reason or "")
        rows.setdefault(name, row)
    rewriter.finish()
    setattr(network, SUMMARY, tuple(rows.values()))
    network.train(model.training)
    if verbose:
        Console(stderr=True).print(_table(list(rows.values()), M, N))
    return network


def summary(network: nn.Module) -> tuple[Conversion, ...]:
    """What :func:`binarize` did to each layer, in the order of execution.

    Raises:
        InputError: the network does not come from :func:`binarize`.
    """
    conversions = getattr(network, SUMMARY, None)
    if conversions is None:
        raise InputError("summary: this network does not come from abc_tvm.nn.binarize")
    return tuple(conversions)


def _plan(
    network: fx.GraphModule, skip: Sequence[str], keep_first: bool, keep_last: bool
) -> dict[str, str | None]:
    """Every layer with weights, in order, and why it stays float; ``None`` if it does not."""
    names = []
    for node in network.graph.nodes:
        if node.op == "call_module" and node.target not in names:
            layer = network.get_submodule(str(node.target))
            if isinstance(getattr(layer, "weight", None), nn.Parameter) and not _is_norm(layer):
                names.append(str(node.target))
    for pattern in skip:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise InputError(f"skip: {pattern!r} matches no layer; there are {', '.join(names)}")
    plan: dict[str, str | None] = {}
    takes_part = [name for name in names if isinstance(network.get_submodule(name), g.LINEAR)]
    for name in names:
        layer = network.get_submodule(name)
        plan[name] = _obstacle(layer)
        if any(fnmatchcase(name, pattern) for pattern in skip):
            plan[name] = "in skip"
        elif keep_first and takes_part and name == takes_part[0]:
            plan[name] = "first layer"
        elif keep_last and takes_part and name == takes_part[-1]:
            plan[name] = "last layer"
    return plan


def _is_norm(layer: nn.Module) -> bool:
    kinds = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.PReLU)
    return isinstance(layer, kinds)


def _obstacle(layer: nn.Module) -> str | None:
    if isinstance(layer, ABCWeight):
        return "is an ABC layer already"
    if not isinstance(layer, g.LINEAR):
        return f"{type(layer).__name__} has no ABC form; Conv2d and Linear have"
    if isinstance(layer, nn.Conv2d) and layer.padding_mode != "zeros":
        return f"padding_mode {layer.padding_mode!r}: ABC layers pad with zeros"
    return None


def _convert(layer: nn.Module, M: int, per_channel: bool, train_u: bool, grid: bool) -> nn.Module:
    options: dict[str, Any] = {
        "M": M,
        "N": None,
        "per_channel": per_channel,
        "train_u": train_u,
        "grid": grid,
        "bias": layer.bias is not None,
        "device": layer.weight.device,
        "dtype": layer.weight.dtype,
    }
    new: nn.Module
    if isinstance(layer, nn.Conv2d):
        names = (
            "in_channels",
            "out_channels",
            "kernel_size",
            "stride",
            "padding",
            "dilation",
            "groups",
        )
        options |= {name: getattr(layer, name) for name in names}
        new = ABCConv2d(**options)
    else:
        features: list[Any] = [layer.in_features, layer.out_features]
        new = ABCLinear(*features, **options)
    new.load_state_dict(layer.state_dict(), strict=False)
    return new


def _class(layer: nn.Module) -> str:
    return next((c.__name__ for c in g.LINEAR if isinstance(layer, c)), type(layer).__name__)


class _Rewriter:
    """Puts activation bases in front of layers."""

    def __init__(
        self, network: fx.GraphModule, N: int, converted: Container[object], grid: bool
    ) -> None:
        self.network = network
        self.converted = converted
        self.graph = network.graph
        self.N, self.grid = N, grid
        self.made: dict[fx.Node, tuple[fx.Node, str]] = {}

    def binarize_input(self, node: fx.Node) -> str:
        """Rewrite the input of a converted layer; says what was changed."""
        x = g.source(node)
        if x is None:
            raise UnsupportedError(f"{node.target}: its input is not the first argument")
        if x not in self.made:
            self.made[x] = self._activation(x, node)
        node.replace_input_with(x, self.made[x][0])
        return self.made[x][1]

    def finish(self) -> None:
        """Drop what nobody reads any more."""
        self.graph.eliminate_dead_code()
        self.network.delete_all_unused_submodules()
        self.graph.lint()
        self.network.recompile()

    def _activation(self, x: fx.Node, layer: fx.Node) -> tuple[fx.Node, str]:
        links = g.chain(self.network, x)
        base, path = links[-1], links[:-1]
        kinds = {g.kind(self.network, link) for link in path}
        origin = g.kind(self.network, base)
        shared = any(not self._only_for_layers(link) for link in path)
        before = g.source(base)
        if origin == "norm" and not (shared and "pool" in kinds):
            movable = "pool" in kinds and before is not None and len(base.users) == 1
            if movable and before is not None:
                value = self._replay(before, path, ("pool",), layer)
                value = self._call(str(base.target), value, layer)
            else:
                value = self._replay(base, path, ("pool",), layer)
            changes = ["max-pool moved before batch normalization"] if movable else []
        elif origin == "linear" and not shared:
            value = self._replay(base, path, ("pool",), layer)
            value = self._insert(value, "abc_norm", self._norm_after(base), layer)
            changes = ["batch normalization added"]
        else:  # a sum, or others read the tensor: it stays as it is
            value = self._insert(x, "abc_norm", self._norm_before(layer), layer)
            value = self._insert(value, "abc", ABCActivation(self.N, grid=self.grid), layer)
            return value, "batch normalization added"
        if "rectifier" in kinds:
            changes.insert(0, "rectifier bypassed" if shared else "rectifier removed")
        if "neutral" in kinds:
            changes.append("dropout removed")
        value = self._insert(value, "abc", ABCActivation(self.N, grid=self.grid), layer)
        return self._replay(value, path, ("reshape",), layer), ", ".join(changes)

    def _only_for_layers(self, node: fx.Node) -> bool:
        """Whether nothing but converted layers, or one operator on the way, reads the node."""
        users = list(node.users)
        return len(users) == 1 or all(user.target in self.converted for user in users)

    def _replay(
        self, value: fx.Node, path: list[fx.Node], kinds: tuple[str, ...], layer: fx.Node
    ) -> fx.Node:
        """Apply the operators of these kinds again, in their order, to ``value``."""
        for link in reversed(path):
            before = g.source(link)
            if g.kind(self.network, link) in kinds and before is not None:
                with self.graph.inserting_before(layer):
                    old = before
                    new = value
                    value = self.graph.node_copy(link, lambda n: new if n is old else n)  # noqa: B023
        return value

    def _call(self, target: str, value: fx.Node, layer: fx.Node) -> fx.Node:
        with self.graph.inserting_before(layer):
            return self.graph.call_module(target, (value,))

    def _insert(self, x: fx.Node, suffix: str, module: nn.Module, layer: fx.Node) -> fx.Node:
        name = f"{layer.target}_{suffix}"
        reference = self.network.get_submodule(str(layer.target))
        self.network.add_submodule(name, module.to(next(reference.parameters())))
        return self._call(name, x, layer)

    def _norm_before(self, layer: fx.Node) -> nn.Module:
        """Batch normalization for the input of a layer."""
        module = self.network.get_submodule(str(layer.target))
        if isinstance(module, nn.Conv2d):
            return nn.BatchNorm2d(module.in_channels)
        return nn.BatchNorm1d(int(module.in_features))  # type: ignore[arg-type]

    def _norm_after(self, base: fx.Node) -> nn.Module:
        """Batch normalization for the output of a layer."""
        module = self.network.get_submodule(str(base.target))
        if isinstance(module, nn.Conv2d):
            return nn.BatchNorm2d(module.out_channels)
        return nn.BatchNorm1d(int(module.out_features))  # type: ignore[arg-type]


def _table(rows: Sequence[Conversion], M: int, N: int) -> Table:
    done = sum(row.converted for row in rows)
    table = Table(title=f"{done} of {len(rows)} layers have M={M}, N={N} binary bases now")
    table.add_column("layer")
    table.add_column("kind")
    table.add_column("weight", justify="right")
    table.add_column("now")
    table.add_column("why, or what changed in front")
    for row in rows:
        shape = "x".join(map(str, row.shape))
        table.add_row(row.name, row.op, shape, "ABC" if row.converted else "float", row.reason)
    return table
