"""An update on a device that has no memory: tensors there have only shapes, and what mixes devices fails.

A process of its own, for test_engine.py: prints as JSON where the data of reinforcement and what an update
reports lie, and which operations of an update cross from one device to another.
"""

import json

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils import backend_registration
from torch.utils._python_dispatch import TorchDispatchMode

from splithistory import Recurrence, data, engine, training
from splithistory.transformer import Architecture, initialise

NAME = "pretended"
SMALL = Architecture(width=16, layers=2)
CONFIG = training.Reinforcement(batch=32, pool=256, test_size=128, maintenance_batch=16, maintenance="acted")


class Backend(backend_registration._DummyBackendModule):
    """What torch asks a device for."""

    def get_amp_supported_dtype(self):
        return [torch.bfloat16]


class Stream(torch.Generator):
    """A random stream that says it is on the device."""

    device = torch.device("cpu")


class Crossings(TorchDispatchMode):
    """Operations that take tensors on one device and leave them on another: the host waits for them."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        outs = out if isinstance(out, list | tuple) else [out]
        tensors = [t for t in (*args, *outs) if isinstance(t, torch.Tensor)]
        if len({t.device.type for t in tensors}) > 1:
            self.seen.append(str(func))
        return out


def main() -> None:
    """Pretend, update twice, look at the second."""
    backend_registration._setup_privateuseone_for_python_backend(NAME, backend_module=Backend())
    Stream.device = torch.device(NAME, 0)
    for module in (engine, data):
        module.on_gpu = lambda device: torch.device(device).type == NAME
    data.stream = training.stream = lambda *_: Stream().manual_seed(0)
    with FakeTensorMode():
        print(json.dumps(found_in_an_update() | found_in_a_copy()))


def found_in_an_update() -> dict:
    """Of reinforcement whose maintenance is a step of its own."""
    learner = engine.Learner(SMALL.shapes(), initialise(SMALL, [0, 1]), 1e-3, 0.01, NAME)
    learner.adam.step = lambda: None  # one library kernel, which this device lacks
    scene = training._Scene(Recurrence(), CONFIG, SMALL, [0, 1], [(0, 4), (0, 1, 2)], NAME)

    def update():
        loss, windows, values = scene.loss(learner.weights())
        learner.step(loss)
        learner.step(scene.maintenance_loss(learner.weights(), windows))
        return values

    update()  # what is made once is made here
    with Crossings() as crossings:
        learner.set_rate(0.5)
        values = update()
    sets = (scene.histories, scene.classes, scene.even_windows, scene.success, scene.outcomes, scene.held_out)
    reported = (*values.values(), learner.flat.grad)
    return {"crossings": crossings.seen, "data": _places(sets), "reported": _places(reported)}


def found_in_a_copy() -> dict:
    """Of what an update must not do."""
    with Crossings() as crossings:
        there = torch.ones(3, device=NAME)
        try:
            there.sum().item()
        except Exception as error:
            refused = str(error)
        there.cpu()
    return {"error": refused, "crossings_of_a_copy": crossings.seen}


def _places(tensors) -> list[str]:
    return [tensor.device.type for tensor in tensors]


if __name__ == "__main__":
    main()
