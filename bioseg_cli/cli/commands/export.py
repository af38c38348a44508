"""`bioseg export`: a trained model in the formats of other programs."""

from __future__ import annotations

from bioseg_cli.export.settings import ExportConfig
from bioseg_cli.runs.console import ConsoleOutput


def export(config: ExportConfig, output: ConsoleOutput, overwrite: bool) -> None:
    """Write a trained model for other programs: as an ONNX graph, or as a package of the BioImage Model Zoo."""
    from rich.text import Text

    from bioseg_cli.export import session

    result = session.run(config, output, overwrite=overwrite)
    sizes = ", ".join(f"{height} x {width}" for height, width in result.sizes)
    output.show(Text(f"model    {result.model}\nfile     {result.out}"))
    output.show(Text(f"checked  its logits differ by at most {result.largest_difference:.1g} (images of {sizes})"))
    output.result(result.to_json())
