"""Training throughput, the arithmetic in it, and the machine's own peak.

Each competitor trains in processes of its own that sleep until told to train for some seconds and say how
many samples they did: so competitors take turns, and a machine's noise hits all of them.
"""

import math
import os
import time
from collections.abc import Callable
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from multiprocessing import get_context

import plain_training
import torch

from splithistory.study.grid import SETTINGS
from splithistory.training import Pretraining, pretrain
from splithistory.transformer import Architecture

OURS, PLAIN, JAX = "ours", "plain", "jax"
_SPAWN = get_context("spawn")  # a process begins with its own environment and no CUDA state
_ENDLESS = 10**6  # steps: more than anybody waits for
# what each of the study's worker processes is started with
_WORKERS = {k: str(v) for k, v in SETTINGS["distributed.nanny.pre-spawn-environ"].items()}
_PEAK = {"cpu": ((256, 512, 1024, 2048), 1), "cuda": ((4096, 8192, 16384), 10)}  # sizes; products a call


def endless(config: Pretraining) -> Pretraining:
    """The same training without an end, and so without evaluations on the way."""
    return replace(config, steps=_ENDLESS, evaluations=1)


def precisions(config: Pretraining) -> dict[str, Pretraining]:
    """The settings for each number format of the matrix products that training offers, by its name."""
    return {name: replace(config, precision=name) for name in ("float32", "bfloat16")}


def thread_counts(cores: int) -> list[int]:
    """Powers of two up to the number of cores, and that number."""
    return sorted({2**k for k in range(cores.bit_length())} | {cores})


# --- processes that train on demand -------------------------------------------------------------------


class Gate:
    """Lets a training loop pass for some seconds at a time; the loop calls it with the number of steps done.

    orders: pipe on which (threads, seconds) come and steps a second go; at the first call of all it says 0.
    barrier: where the processes that train side by side wait for each other. Our training calls every few
    steps only, so a turn is a little longer than the seconds asked for; what counts is its own length.
    """

    def __init__(self, orders, barrier, device: str):
        self.orders, self.barrier = orders, barrier
        self.finish = torch.cuda.synchronize if device == "cuda" else lambda: None
        self.first, self.start, self.end = 0, -math.inf, -math.inf

    def __call__(self, step: int, *_) -> None:
        if time.perf_counter() < self.end:
            return
        self.finish()
        self.orders.send((step - self.first) / (time.perf_counter() - self.start))
        threads, seconds = self.orders.recv()
        torch.set_num_threads(threads)
        self.barrier.wait()
        self.first, self.start = step, time.perf_counter()
        self.end = self.start + seconds


def _train(who: str, architecture: Architecture, config: Pretraining, members, device: str, *gate) -> None:
    """A process: train (our members in one program, or one model of another) whenever the gate is open."""
    torch.set_num_threads(1)
    gate = Gate(*gate, device)
    if who == OURS:
        pretrain(architecture, config, members, progress=gate, device=device)
    elif who == PLAIN:
        plain_training.train(architecture, config, gate, device)
    else:
        _pin(members[0])
        import jax_training  # only where it trains: the import starts threads

        jax_training.train(architecture, config, gate)


def _pin(core: int) -> None:
    """Keep this process on one core: JAX has no other way to be held to one thread."""
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[core % len(cores)]})


class Team:
    """Processes that train side by side, each on seeds of its own; a context that ends them.

    seeds: for each process, the members that it trains in one program.
    """

    def __init__(self, who: str, architecture, config: Pretraining, seeds, device: str):
        self.samples = config.batch * sum(map(len, seeds))
        self.barrier = _SPAWN.Barrier(len(seeds))  # kept: it must outlive the start of the processes
        self.pipes, self.processes = [], []
        with _environment(_WORKERS if who == OURS else {}):
            for members in seeds:
                self._start(who, architecture, config, members, device)

    def _start(self, *arguments) -> None:
        pipe, theirs = _SPAWN.Pipe()
        process = _SPAWN.Process(target=_train, args=(*arguments, theirs, self.barrier), daemon=True)
        process.start()
        theirs.close()  # or nobody would notice that the process died
        self.pipes.append(pipe)
        self.processes.append(process)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in self.processes:
            process.terminate()
            process.join()

    def wait_until_ready(self) -> None:
        """Until every process has made its data and done its first steps."""
        self._answers()

    def rate(self, threads: int, seconds: float) -> float:
        """Samples a second of all processes together, over the same seconds."""
        for pipe in self.pipes:
            pipe.send((threads, seconds))
        return sum(self._answers()) / len(self.pipes) * self.samples

    def _answers(self) -> list[float]:
        try:
            return [pipe.recv() for pipe in self.pipes]
        except EOFError:
            raise RuntimeError("a training process ended early; its own message is above") from None


@contextmanager
def _environment(settings: dict[str, str]):
    """Variables that processes started meanwhile are born with."""
    before = dict(os.environ)
    os.environ.update(settings)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def rates(architecture, config, device: str, seeds, threads, rounds: int, seconds: float) -> dict:
    """Samples a second in each round: {precision: [...]} of ours, {threads: [...]} of the plain loop, and
    on a CPU {"jax": [...]}, as many processes as ours.

    seeds: as in Team; threads: counts to try for the plain loop. One more round, the first, is the warm-up.
    """
    with ExitStack() as stack:

        def team(who, settings, seeds):
            return stack.enter_context(Team(who, architecture, endless(settings), seeds, device))

        ours = {name: team(OURS, settings, seeds) for name, settings in precisions(config).items()}
        plain = team(PLAIN, config, [[0]])
        one_a_core = [[p] for p in range(len(seeds))]
        jitted = {JAX: team(JAX, config, one_a_core)} if device == "cpu" else {}
        for each in (*ours.values(), plain, *jitted.values()):
            each.wait_until_ready()
        turns = {name: (each, 1) for name, each in (ours | jitted).items()} | {n: (plain, n) for n in threads}
        found = [
            {name: each.rate(n, seconds) for name, (each, n) in turns.items()} for _ in range(rounds + 1)
        ]
    return {name: [turn[name] for turn in found[1:]] for name in turns}


# --- arithmetic -----------------------------------------------------------------------------------------


def forward_flops(architecture: Architecture) -> int:
    """Floating-point operations, two a multiply-add, of a sample's matrix products in our forward pass.

    Counts linear layers, attention scores and attended values; the last layer makes keys and values of all
    T tokens, but everything else for one query. Not counted: the embedding and the first layer's queries,
    keys and values (looked up), and what is done once a batch (folding a norm's gain into the next layer).
    """
    a = architecture
    d, t = a.width, a.context
    attend = 2 * t * d  # scores and values, a query
    after = d * d + 2 * d * a.expansion * d  # output projection and feed-forward, a token
    layers = (a.layers - 1) * t * (attend + after) + attend + after
    projections = max(0, a.layers - 2) * t * 3 * d * d + (a.layers > 1) * (2 * t + 1) * d * d
    return 2 * (layers + projections + d * a.n_tokens)


def training_flops(architecture: Architecture) -> int:
    """Operations of a training sample: the backward pass counts twice the forward pass."""
    return 3 * forward_flops(architecture)


def matrix_peak(dtype: torch.dtype, device: str, *, seconds: float = 0.5) -> float:
    """Operations a second of torch's best square product, with the threads that are set.

    The fastest product of any of the sizes counts; each is repeated for `seconds`.
    """
    finish = torch.cuda.synchronize if device == "cuda" else lambda: None
    sizes, times = _PEAK[device]
    return max(
        2 * n**3 * times / _fastest(_products(n, times, dtype, device, finish), seconds) for n in sizes
    )


def _products(n: int, times: int, dtype: torch.dtype, device: str, finish: Callable) -> Callable:
    a, b = torch.randn(2, n, n, device=device).to(dtype)
    out = torch.empty_like(a)

    def multiply():
        for _ in range(times):
            torch.mm(a, b, out=out)
        finish()

    return multiply


def _fastest(call: Callable, seconds: float) -> float:
    """Least seconds of a call, after one that warms up."""
    call()
    end, best = time.perf_counter() + seconds, math.inf
    while (start := time.perf_counter()) < end or best == math.inf:
        call()
        best = min(best, time.perf_counter() - start)
    return best
