"""Whether what was given as the supervised control is one, and of every run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bioseg_cli.errors import UsageError
from bioseg_cli.evaluation.states import SavedState
from bioseg_cli.training.alike import flags_of_control, unlike_control


def refuse_no_control(states: Sequence[SavedState], control: SavedState) -> None:
    """Raise `UsageError` where a run has no supervised control, or another one; says in what the two differ."""
    if control.of_clusters:
        raise UsageError(
            "The control is a run of train-iic, which has clusters and no classes",
            where=control.name,
            fix="Give a run of train-uda with --unsup-loss none.",
        )
    for state in states:
        if state.of_clusters:
            raise UsageError(
                f"--control is for runs of train-uda, and {state.name} is one of train-iic, which has no control",
                where=control.name,
                fix="Give both as RUNS: their rows stand beside each other.",
            )
        if said := unlike_control(state.run.manifest, control.run.manifest):
            path = state.run.path
            without = flags_of_control(state.run.manifest.config)
            raise UsageError(
                f"--control is no control of {state.name}: they differ in {', '.join(said)}",
                where=control.name,
                fix=f"Train one: bioseg train-uda --config {path}/manifest.yaml {without} --run {path}-control",
            )


def control_notes(states: Sequence[SavedState], control: SavedState) -> Iterator[str]:
    """What a reader must know of a control with adapted statistics, and of runs trained in another precision."""
    yield from statistics_notes(control)
    theirs = _precision(control)
    for state in states:
        if (ours := _precision(state)) != theirs:
            yield f"{state.name} was trained in {ours}, its control in {theirs}: part of the difference is rounding."


def statistics_notes(control: SavedState) -> Iterator[str]:
    """What a reader must know of a control with adapted statistics."""
    if control.run.manifest.config.get("norm_images") == "all":
        yield (
            "The batch-norm statistics of the control are of all training images: what runs gain over it is not the "
            "work of adapted statistics."
        )


def _precision(state: SavedState) -> str | None:
    precision = state.run.manifest.precision
    return None if precision is None else precision.name
