"""Write the networks that ship, from the work folder of ``accuracy.py``.

    python benchmarks/accuracy_ship.py --results OUT.json [--work DIR] [--preset long]

Copies the ONNX files of the chosen networks into ``abc_tvm/pretrained``, with a model card and its
figures (taken from the JSON that ``accuracy.py`` wrote), and the test images for ``make demo``.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from _accuracy_data import load

from abc_tvm.frontend.torch_program import drop_traces
from abc_tvm.pretrained import FASHION, FOLDER, IMAGES

SHIPPED = {"lenet-mnist": ("mnist", 3, 3), "resnet-fashion": ("fashion", 3, 3)}
IMAGE_COUNT = 400
SOURCES = {
    "mnist": "MNIST (Y. LeCun, C. Cortes, C. J. C. Burges): 60,000 images for training, 10,000 for "
    "the test",
    "fashion": "Fashion-MNIST (H. Xiao, K. Rasul, R. Vollgraf, 2017; MIT licence): 60,000 images "
    "for training, 10,000 for the test",
}
ARCHITECTURE = {
    "mnist": "LeNet: 5×5 convolutions of 20 and 50 channels, dense layers of 200 and 10 outputs. "
    "First and last layer are float; `conv2` and `fc1` are binarized",
    "fashion": "pre-activation residual network: stem, three blocks with 24, 48 and 96 channels, "
    "1×1 shortcuts. Stem and classifier are float; the eight convolutions between are binarized",
}


def main() -> int:
    """Write the files and say so."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--results", type=Path, required=True, help="the JSON of accuracy.py")
    parser.add_argument("--work", type=Path, default=Path("accuracy"))
    parser.add_argument("--data", type=Path, default=Path("accuracy/data"))
    arguments = parser.parse_args()
    results = json.loads(arguments.results.read_text(encoding="utf-8"))
    for name, (dataset, m, n) in SHIPPED.items():
        source = arguments.work / results["preset"] / f"{dataset}-M{m}N{n}-0.onnx"
        model = onnx.load(source)
        drop_traces(model)
        onnx.save(model, FOLDER / f"{name}.onnx")
        figures = _figures(results, dataset, m, n)
        text = json.dumps(figures, indent=1) + "\n"
        (FOLDER / f"{name}.json").write_text(text, encoding="utf-8")
        (FOLDER / f"{name}.md").write_text(_card(name, figures), encoding="utf-8")
        print(f"{name}: {(FOLDER / f'{name}.onnx').stat().st_size / 1e6:.2f} MB", file=sys.stderr)
    test = load("fashion", arguments.data)["test"]
    images = {"pixels": test.images[:IMAGE_COUNT], "labels": test.labels[:IMAGE_COUNT]}
    np.savez_compressed(IMAGES, **images)
    return 0


def _figures(results: dict[str, Any], dataset: str, m: int, n: int) -> dict[str, Any]:
    def run(m: int, n: int) -> dict[str, Any]:
        return next(
            r
            for r in results["runs"]
            if (r["dataset"], r["M"], r["N"], r["seed"]) == (dataset, m, n, 0)
        )

    binary, plain = run(m, n), run(0, 0)
    names = ("compiled_accuracy", "different", "flipped_bits", "checked_bits", "min_ms")
    return {
        "dataset": dataset,
        "M": m,
        "N": n,
        "float_accuracy": plain["accuracy"],
        "accuracy": binary["accuracy"],
        **{name: binary[name] for name in names},
        "float_min_ms": plain["min_ms"],
        "seed": 0,
        "command": f"python benchmarks/accuracy.py --preset {results['preset']}",
        "machine": results["machine"],
        "date": results["date"],
    }


def _card(name: str, figures: dict[str, Any]) -> str:
    dataset = figures["dataset"]
    classes = f"\nClasses: {', '.join(FASHION)}.\n" if dataset == "fashion" else ""
    recipe = (
        f"`{figures['command']}`, seed {figures['seed']}: a float network first, then the ABC "
        "network from its weights; Adam, cosine learning rate, the last epoch (none is chosen by "
        "its test accuracy). Written here by `python benchmarks/accuracy_ship.py`"
    )
    return f"""# {name}

ABC network (Lin, Zhao, Pan, NIPS 2017) with M = {figures["M"]} weight bases and
N = {figures["N"]} activation bases.

- **Data.** {SOURCES[dataset]}.
- **Network.** {ARCHITECTURE[dataset]}.
- **Input.** `input`, float32 `[B, 1, 28, 28]`; a pixel p of 0 … 255 as p / 127.5 − 1.
- **Output.** `output`, float32 `[B, 10]`, one score per class.
- **Recipe.** {recipe}.
{classes}
| whole test set, 10,000 images | accuracy, % |
|---|---|
| float network of the same shape | {figures["float_accuracy"]:.2f} |
| ABC network, torch | {figures["accuracy"]:.2f} |
| ABC network, compiled by abc-tvm | {figures["compiled_accuracy"]:.2f} |

The compiled network names another class than torch for {figures["different"]} of 10,000 images.
Over 200 images {figures["flipped_bits"]} of {figures["checked_bits"]:,} activation bits differ from
the float evaluation of the graph. One image takes {figures["min_ms"]:.3f} ms, and
{figures["float_min_ms"]:.3f} ms with the float network, compiled too: one thread,
{figures["machine"]}, {figures["date"]}.

Made to show what the compiler does, and to test it. It knows 28×28 grey images like those of its
data set and nothing else.
"""


if __name__ == "__main__":
    sys.exit(main())
