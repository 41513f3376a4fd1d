"""Trains the network that the chapter on agents measures: `python benchmarks/agent.py`.

Proximal policy optimization (PPO) of stable-baselines3 on CartPole, one thread, two layers of 16. Writes
results/worlds/cartpole/ (weights.safetensors, manifest.json): the actor's weights after each of STEPS. About
two minutes on one core.
"""

from importlib.metadata import version

import gymnasium
import numpy as np
import script
import torch
from safetensors.numpy import save_file
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import DummyVecEnv

from splithistory.study.store import provenance, whole_folder, write_manifest

PLACE = "worlds/cartpole"
STEPS = (0, 2048, 4096, 8192, 16384, 32768, 65536)
WIDTH, ENVIRONMENTS = 16, 8
# as RL Baselines3 Zoo has them for CartPole-v1, but for the schedules, which are constant here
SETTINGS = {"n_steps": 32, "batch_size": 256, "gae_lambda": 0.8, "gamma": 0.98, "n_epochs": 20}
SETTINGS |= {"learning_rate": 1e-3, "ent_coef": 0.0, "clip_range": 0.2}


class Keep(BaseCallback):
    """Keeps the actor whenever so many steps were made."""

    def __init__(self):
        super().__init__()
        self.kept: dict[int, dict[str, np.ndarray]] = {}

    def _on_rollout_start(self) -> None:
        if self.num_timesteps in STEPS:
            self.kept[self.num_timesteps] = actor(self.model.policy)

    def _on_training_end(self) -> None:
        self._on_rollout_start()

    def _on_step(self) -> bool:
        return True


def actor(policy) -> dict[str, np.ndarray]:
    """What chooses the action: w0, b0, w1, b1, w2, b2; layers tanh(w x + b), the last without the tanh."""
    net = policy.mlp_extractor.policy_net
    layers = [net[0], net[2], policy.action_net]
    parts = {f"w{i}": layer.weight for i, layer in enumerate(layers)}
    parts |= {f"b{i}": layer.bias for i, layer in enumerate(layers)}
    return {name: part.detach().numpy().copy() for name, part in parts.items()}


def train(seed: int) -> dict[str, np.ndarray]:
    """Weights of all steps, by "steps/name"."""
    torch.set_num_threads(1)
    world = DummyVecEnv([lambda: gymnasium.make("CartPole-v1")] * ENVIRONMENTS)
    keep, shape = Keep(), {"net_arch": [WIDTH, WIDTH]}
    PPO("MlpPolicy", world, seed=seed, device="cpu", policy_kwargs=shape, **SETTINGS).learn(STEPS[-1], keep)
    return {f"{steps}/{name}": part for steps, parts in keep.kept.items() for name, part in parts.items()}


def main(argv=None) -> None:
    parser = script.parser(__doc__, PLACE)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    place = script.output(args, PLACE)
    weights = train(args.seed)
    with whole_folder(place) as folder:
        save_file(weights, folder / "weights.safetensors")
        made = {"command": f"python benchmarks/agent.py --seed {args.seed}", **provenance()}
        made["versions"] |= {name: version(name) for name in ("gymnasium", "stable-baselines3")}
        write_manifest(folder, {**made, "steps": list(STEPS)})


if __name__ == "__main__":
    script.run(main)
