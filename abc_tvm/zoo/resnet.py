"""Residual networks with ABC convolutions, in pre-activation form.

A block is ``out = shortcut + conv2(bin(bn2(conv1(bin(bn1(x))))))``. Where the shape changes, the
shortcut is a 1×1 ABC convolution of the block's first binarized activation. Stem and classifier
are float. In the stem, pooling comes straight after the convolution: the first block's batch
normalization follows it, which is the paper's order (ABC-Net, NIPS 2017, section 5.1).
"""

from __future__ import annotations

from dataclasses import dataclass

from abc_tvm.zoo import abc_conv, layers
from abc_tvm.zoo.builder import GraphBuilder, Tensor


@dataclass(frozen=True)
class ResidualPlan:
    """Shape of a residual network, shared by its binarized and float forms.

    Attributes:
        blocks: number of blocks of each stage; from the second on, a stage halves the image and
            doubles the channels.
        channels: channels of the stem and of the first stage.
        bottleneck: blocks are 1×1, 3×3, 1×1 with four times the channels out, not 3×3, 3×3.
        large_stem: the stem is a 7×7 convolution and a max-pool, both with stride 2, not a 3×3.
    """

    blocks: tuple[int, ...]
    channels: int = 64
    bottleneck: bool = False
    large_stem: bool = True


PLANS = {
    "resnet8": ResidualPlan((1, 1, 1), channels=16, large_stem=False),
    "resnet18": ResidualPlan((2, 2, 2, 2)),
    "resnet34": ResidualPlan((3, 4, 6, 3)),
    "resnet50": ResidualPlan((3, 4, 6, 3), bottleneck=True),
}


@dataclass(frozen=True)
class ResidualBlock:
    """One residual block of a plan, with its convolutions as (out channels, kernel, stride)."""

    name: str
    convs: tuple[tuple[int, int, int], ...]
    stride: int

    @property
    def channels(self) -> int:
        """Channels of the block's output."""
        return self.convs[-1][0]

    def changes_shape(self, x: Tensor) -> bool:
        """Whether the block's output has another shape than its input x."""
        return self.stride != 1 or self.channels != x.channels


def blocks(plan: ResidualPlan, width: float) -> list[ResidualBlock]:
    """Return the blocks of a plan, in order."""
    residual_blocks = []
    for stage, count in enumerate(plan.blocks):
        inner = layers.scaled(plan.channels << stage, width)
        for index in range(count):
            stride = 2 if stage and not index else 1
            convs: tuple[tuple[int, int, int], ...]
            if plan.bottleneck:
                convs = ((inner, 1, 1), (inner, 3, stride), (4 * inner, 1, 1))
            else:
                convs = ((inner, 3, stride), (inner, 3, 1))
            residual_blocks.append(ResidualBlock(f"layer{stage + 1}.{index}", convs, stride))
    return residual_blocks


def stem(g: GraphBuilder, plan: ResidualPlan, width: float) -> Tensor:
    """Add the float stem: convolution and, if large, max-pool."""
    channels = layers.scaled(plan.channels, width)
    if not plan.large_stem:
        return layers.conv(g, g.input, channels, "stem.conv", 3, pad=1)
    x = layers.conv(g, g.input, channels, "stem.conv", 7, stride=2, pad=3)
    return layers.max_pool(g, x, "stem.pool", 3, 2, pad=1)


def abc_resnet(
    g: GraphBuilder, plan: ResidualPlan, *, M: int, N: int, width: float, classes: int
) -> Tensor:
    """Add the whole network: "input" [B, 3, H, W] -> "output" [B, classes]."""
    x = stem(g, plan, width)
    for block in blocks(plan, width):
        x = _abc_block(g, x, block, M, N)
    x = g.op("Relu", [layers.batch_norm(g, x, "final.bn")], "final.relu")
    return layers.classifier(g, x, classes)


def _abc_block(g: GraphBuilder, x: Tensor, block: ResidualBlock, M: int, N: int) -> Tensor:
    shortcut, main = x, x
    for index, (channels, kernel, stride) in enumerate(block.convs, start=1):
        normal = layers.batch_norm(g, main, f"{block.name}.bn{index}")
        bits = abc_conv.binarize(g, normal, N, f"{block.name}.bin{index}")
        if index == 1 and block.changes_shape(x):
            name = f"{block.name}.shortcut"
            shortcut = abc_conv.conv(g, bits, block.channels, M, name, 1, block.stride)
        name = f"{block.name}.conv{index}"
        main = abc_conv.conv(g, bits, channels, M, name, kernel, stride, kernel // 2)
    return g.op("Add", [shortcut, main], block.name)
