"""Whether another runtime predicts faster on a CPU than PyTorch does: the network alone, on one tile.

`python -m benchmarks.runtimes [--widths 16 32 64] [--side 512] [--rounds 10] [--threads 2]`

PyTorch as `bioseg predict` uses it (batch norm folded, channels last, float32 and, where the processor multiplies it
natively, bfloat16), ONNX Runtime and OpenVINO on the graph that `bioseg export` writes. OpenVINO is no dependency:
`pip install openvino`, or its rows are left out. A ratio above 1 is faster than PyTorch in the precision that `predict`
would choose.
"""

from __future__ import annotations

import argparse
import importlib.util
import tempfile
from collections.abc import Iterator
from pathlib import Path

import onnxruntime
import torch
from rich.table import Table

from benchmarks import machine
from benchmarks.timing import Action, interleaved, printer, show, table_of
from bioseg_cli.compute.device import resolve_precision
from bioseg_cli.config import ClassInfo, UNetConfig
from bioseg_cli.export.graph import write_graph
from bioseg_cli.model.saved import LoadedModel, ModelCard
from bioseg_cli.model.unet import UNet, folded

CPU = torch.device("cpu")
CARD = {
    "classes": (ClassInfo(name="background", colour=(0, 0, 0)), ClassInfo(name="cell", colour=(255, 180, 0))),
    "normalisation": {"method": "minmax", "low": [0.0], "high": [1.0]},
    "image_dtype": "uint8",
    "pixel_size": None,
    "dataset_hash": "",
    "method": "",
    "state": "last",
    "epoch": 0,
}


def ways(width: int, side: int, threads: int, folder: Path) -> Iterator[tuple[str, Action]]:
    """What is timed, by name: each computes the logits of the same tile."""
    config = UNetConfig(in_channels=1, heads={"main": 2}, width=width)
    model = LoadedModel(UNet(config).eval(), ModelCard.model_validate({"architecture": config, **CARD}), folder)
    graph = folder / f"{width}.onnx"
    write_graph(model, graph)
    network = folded(model.network).to(memory_format=torch.channels_last)
    images = torch.rand(1, 1, side, side)
    pixels = images.numpy()
    torch.set_num_threads(threads)
    chosen = resolve_precision("auto", CPU)
    for precision in {chosen.name: chosen, "fp32": resolve_precision("fp32", CPU)}.values():

        def by_torch(_: int, precision=precision) -> None:
            with torch.inference_mode(), precision.autocast():
                network(images.to(memory_format=torch.channels_last))

        yield f"PyTorch {precision.name}", by_torch
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    yield "ONNX Runtime fp32", lambda _: session.run(None, {"image": pixels})
    if importlib.util.find_spec("openvino") is None:
        return
    import openvino

    for name, hint in (("fp32", "f32"), ("bf16", "bf16")):
        settings = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": hint, "PERFORMANCE_HINT": "LATENCY"}
        compiled = openvino.Core().compile_model(graph, "CPU", settings)
        yield f"OpenVINO {name}", lambda _, compiled=compiled: compiled(pixels)


def measure(width: int, side: int, rounds: int, threads: int) -> Table:
    """Milliseconds of a tile by runtime, and how many times faster each is than PyTorch as `predict` uses it."""
    with tempfile.TemporaryDirectory() as folder:
        actions = dict(ways(width, side, threads, Path(folder)))
        seconds = interleaved(actions, rounds, CPU)
    table = table_of(f"width {width}, a tile of {side} x {side} pixels, {threads} threads", "", "ms", "ratio")
    ours = seconds[next(iter(actions))]
    for name, values in seconds.items():
        table.add_row(name, show(1000 * values), show(ours / values))
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--widths", type=int, nargs="+", default=[16, 32, 64])
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    console = printer()
    console.print(machine.describe())
    for width in options.widths:
        console.print(measure(width, options.side, options.rounds, options.threads))


if __name__ == "__main__":
    main()
