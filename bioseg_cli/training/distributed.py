"""One training by several processes, which `torchrun` starts.

Every process draws the same whole batch and computes the same loss of it. Only the network's work is divided: each
process runs its share of the images, and the outputs are gathered. Dice, KL and the joint distribution of mutual
information are then exactly those of one process, and so are the gradients, which `DistributedDataParallel` adds up.
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import itertools
import json
import signal
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.distributed_c10d import Store
from torch.distributed.rendezvous import rendezvous
from torch.nn.parallel import DistributedDataParallel

from bioseg_cli.compute.torchrun import Launch
from bioseg_cli.errors import BiosegError, DataError, Interrupted, OutputError, RunError, UsageError
from bioseg_cli.model.unet import UNet
from bioseg_cli.training.joint_norm import JointBatchNorm2d

TIMEOUT = timedelta(minutes=30)
"""How long the fastest process waits for the slowest: through a validation on a slower host, say."""

FAILURE = "bioseg/failure"
"""Key under which the first process to fail leaves its error."""

ERRORS: dict[str, type[BiosegError]] = {
    kind.__name__: kind for kind in (UsageError, DataError, OutputError, RunError, Interrupted)
}


class Alone:
    """The only process of a training: nothing has to be agreed on."""

    def shared(self, network: UNet) -> nn.Module:
        """What the loss calls for logits of a batch: shares the batch out, and trains the weights of `network`."""
        return network

    def any(self, asked: bool) -> bool:
        """Whether it is true for any process."""
        return asked

    def of_the_first(self, values: dict[str, float]) -> dict[str, float]:
        """The values of the first process, for decisions that have to be the same everywhere; plain numbers."""
        # NumPy's, which a method may give, are not read again from a saved state: they would be code.
        return {name: float(value) for name, value in values.items()}

    def check_alike(self, what: str) -> None:
        """Raise `UsageError` where another process was given something else."""

    def seed_step(self, seed: int, updates: int) -> None:
        """Have dropout draw other masks than in the other processes."""

    def explained(self, error: BaseException) -> BaseException:
        """The error to end with: the one another process failed with, where this one only lost it."""
        return error


class Together(Alone):
    """One of several processes, connected.

    Args:
        launch: which one.
        store: what the processes leave for each other; it outlives them.
    """

    def __init__(self, launch: Launch, store: Store) -> None:
        self.launch = launch
        self._store = store

    def shared(self, network: UNet) -> nn.Module:
        """A network that gives every process the logits of the whole batch."""
        return SharedNetwork(network, self.launch)

    def any(self, asked: bool) -> bool:
        """Whether it is true for any process."""
        count = torch.tensor(int(asked))
        dist.all_reduce(count)
        return bool(count)

    def of_the_first(self, values: dict[str, float]) -> dict[str, float]:
        """The values of the first process; every process has to have the same names."""
        numbers = torch.tensor(list(values.values()), dtype=torch.float64)
        dist.broadcast(numbers, 0)
        return dict(zip(values, numbers.tolist(), strict=True))

    def check_alike(self, what: str) -> None:
        """Raise `UsageError` where the first process was given something else."""
        own = torch.tensor(list(hashlib.sha256(what.encode()).digest()))
        first = own.clone()
        dist.broadcast(first, 0)
        if not torch.equal(own, first):
            raise UsageError(
                "The settings, the data set or the state to resume are not those of the first process",
                fix="Give every host the same command and the same files.",
            )

    def seed_step(self, seed: int, updates: int) -> None:
        """Seed dropout by process and step; the first goes on with what is saved for a run to resume."""
        if not self.launch.first:
            drawn = np.random.SeedSequence([seed, self.launch.rank, updates]).generate_state(1, np.uint64)
            torch.manual_seed(int(drawn[0]))

    def explained(self, error: BaseException) -> BaseException:
        """The error to end with; the first to fail leaves its own for the others."""
        if not isinstance(error, Exception):
            return error
        # Gloo has no type of error of its own.
        lost = isinstance(error, dist.DistError) or "gloo" in str(error)
        what = error.what if isinstance(error, BiosegError) else f"{type(error).__name__}: {error}"
        # The store may have gone, with the host that kept it.
        with contextlib.suppress(RuntimeError):
            if not lost:
                details = {"rank": self.launch.rank, "kind": type(error).__name__, "what": what}
                if isinstance(error, BiosegError):
                    details.update(where=error.where, fix=error.fix)
                self._store.compare_set(FAILURE, "", json.dumps(details))
            elif self._store.check([FAILURE]):
                return _of_another(json.loads(self._store.get(FAILURE)))
        if not lost:
            return error
        return RunError(
            "Another process of this training has ended",
            fix="torchrun lists which and how; then go on with --resume, or start again.",
        )


def _of_another(details: Mapping[str, Any]) -> BiosegError:
    kind = ERRORS.get(details["kind"], RunError)
    what = f"Process {details['rank']} failed: {details['what']}"
    return kind(what, where=details.get("where"), fix=details.get("fix"))


def own_device(device: torch.device, launch: Launch) -> torch.device:
    """The device of this process, where several train together on GPUs one each, which becomes the current one.

    Raises:
        UsageError: fewer GPUs than processes on this host, or a device that cannot be shared.
    """
    if launch.count == 1 or device.type == "cpu":
        return device
    if ":" in str(device):
        raise UsageError(
            f"Several processes can't train together on {device}: each has a GPU of its own", fix="Give --device cuda."
        )
    if device.type != "cuda":
        raise UsageError(f"Several processes can't train together on {device.type}", fix="Give --device cpu.")
    if launch.local_rank >= (there := torch.cuda.device_count()):
        raise UsageError(
            f"There is no GPU for process {launch.local_rank + 1} of this host: it has {there}",
            fix=f"Give torchrun --nproc-per-node {there}.",
        )
    # At once, or even a question about precision takes memory of the first GPU.
    torch.cuda.set_device(launch.local_rank)
    return torch.device("cuda", launch.local_rank)


@contextlib.contextmanager
def joined(launch: Launch, device: torch.device) -> Iterator[Alone]:
    """Within the `with` block the processes of a launch are connected; an error that ends it is `explained`.

    Raises:
        RunError: they can't reach each other.
    """
    if launch.count == 1:
        yield Alone()
        return
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    try:
        store, rank, count = next(rendezvous("env://", timeout=TIMEOUT))
        dist.init_process_group(backend, store=store, rank=rank, world_size=count, timeout=TIMEOUT)
    except RuntimeError as error:
        raise RunError(
            f"The processes can't reach each other ({' '.join(str(error).split())[:200]})",
            fix="Between hosts, set GLOO_SOCKET_IFNAME and NCCL_SOCKET_IFNAME to the network interface they share.",
        ) from None
    processes = Together(launch, store)
    # As soon as one process has failed torchrun ends the others. The first one is to say why before it goes.
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        yield processes
    except BaseException as error:
        if (told := processes.explained(error)) is not error:
            raise told from error
        raise
    signal.signal(signal.SIGTERM, before)
    dist.destroy_process_group()


class SharedNetwork(nn.Module):
    """A network of which each process runs its share of a batch in training, and gets the logits of the whole.

    Args:
        network: its tensors are the ones that are trained; it is itself left as it is, to be averaged, validated
            alone, and saved.
        launch: which process this is.
    """

    def __init__(self, network: UNet, launch: Launch) -> None:
        super().__init__()
        self.launch = launch
        weight = next(network.parameters())
        self.dtype = weight.dtype
        # Named as copied already, the tensors are shared.
        tensors = itertools.chain(network.parameters(), network.buffers())
        twin: nn.Module = copy.deepcopy(network, {id(tensor): tensor for tensor in tensors})
        if weight.is_cuda:
            twin = nn.SyncBatchNorm.convert_sync_batchnorm(twin)  # type: ignore[no-untyped-call]
        else:
            _join_statistics(twin)
        self.replica = DistributedDataParallel(twin.train())
        # Every process updates the running statistics alike: there is nothing to send. Not an argument, as its name
        # depends on the release of torch.
        self.replica.broadcast_buffers = False

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Logits (B, K, H, W) of each head, for images (B, C, H, W) that all processes have alike.

        They are of the type of the weights, also where the network multiplies in half precision.
        """
        logits = self.replica(images.chunk(self.launch.count)[self.launch.rank])
        return {name: _Gathered.apply(share.to(self.dtype), self.launch) for name, share in logits.items()}  # type: ignore[no-untyped-call]


def _join_statistics(network: nn.Module) -> None:
    for parent in list(network.modules()):
        for name, child in parent.named_children():
            if isinstance(child, nn.BatchNorm2d):
                setattr(parent, name, JointBatchNorm2d.sharing(child))


class _Gathered(torch.autograd.Function):
    """The shares of all processes, one behind the other."""

    @staticmethod
    def forward(ctx: Any, share: Tensor, launch: Launch) -> Tensor:
        """(B / processes, ...) to (B, ...)."""
        ctx.launch = launch
        whole = share.new_empty(launch.count * len(share), *share.shape[1:])
        dist.all_gather(list(whole.chunk(launch.count)), share.contiguous())
        return whole

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        """The share's gradient, times the number of processes."""
        # All compute the same loss of the whole batch: nothing is missing that others would have to send. The factor
        # is the one that DistributedDataParallel divides by when it adds up the gradients of the weights.
        return gradient.chunk(ctx.launch.count)[ctx.launch.rank] * ctx.launch.count, None
