"""The world: a stochastic multiplicative recurrence, sampled and in exact probabilities.

Post, section "Pretraining on Sequence Prediction"::

    s_t = x + 8·(t mod 2),   x = ((∏_{i=1..16} (s_{t−i} + 1) mod 17) mod 8) with probability 0.98,
                             x uniform on 0..7 otherwise.

Every factor s + 1 is a unit modulo 17. Units are powers of a primitive root, so in discrete
logarithms the product is a sum modulo 16 and a sliding window updates it with one addition and one
subtraction. Beside the rule, in NumPy, stands its twin in torch, for training data that a GPU draws itself.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property, lru_cache

import numpy as np

from .information import (
    as_goal,
    as_number,
    as_rate,
    check_choice,
    check_integer,
    check_memory,
    check_seed,
    entropy,
    goal_mask,
    implied_op,
    shown,
    to_numpy,
)

_BLOCK = 2**14  # sequences sampled side by side


class Recurrence:
    """The post's sequence as a world for `split_history`: actions at odd t, outcomes at even t + 1.

    modulus: a prime q; window: how many tokens are multiplied; alphabet: K, tokens of one parity
    (even positions hold 0..K−1, odd ones K..2K−1); noise: probability of a uniform draw.
    sinks: {odd-position token: outcomes}, none in the post's world: after such a token comes one of its
    outcomes, each alike, whatever the history (but for the noise).
    A history ends at an even position; its class is the discrete logarithm of the product of its
    last `window − 1` tokens plus one, which is all that the world sees of it.
    """

    def __init__(
        self,
        modulus: int = 17,
        window: int = 16,
        alphabet: int = 8,
        noise: float = 0.02,
        sinks: Mapping[int, Sequence[int]] | Iterable = (),
    ):
        modulus = check_integer("modulus", modulus, 3)
        window, alphabet = check_integer("window", window, 2), check_integer("alphabet", alphabet, 1)
        check_memory("modulus, alphabet", (modulus, alphabet), 16.0 * modulus * alphabet * alphabet)
        if any(modulus % d == 0 for d in range(2, int(modulus**0.5) + 1)):
            raise ValueError(f"modulus: given {modulus}, allowed is an odd prime")
        if alphabet > (modulus - 1) // 2:
            raise ValueError(
                f"alphabet: given {alphabet}, allowed is 1..{(modulus - 1) // 2} (every token + 1 a unit)"
            )
        as_number(noise, "noise", 0, 1)  # kept as it was given, for it is part of what names a run
        self.modulus, self.window, self.alphabet, self.noise = modulus, window, alphabet, noise
        try:
            pairs = dict(sinks).items()
        except (TypeError, ValueError):
            raise ValueError(f"sinks: given {shown(sinks)}, allowed are pairs (token, outcomes)") from None
        self.sinks = {check_integer("sinks", token, 0): as_goal(goal, alphabet) for token, goal in pairs}
        if not all(alphabet <= token < 2 * alphabet for token in self.sinks):
            raise ValueError(f"sinks: given {sorted(self.sinks)}, allowed are {alphabet}..{2 * alphabet - 1}")

    @property
    def settings(self) -> dict[str, float]:
        """What the world was made with, by name; sinks, as pairs, only if there are any."""
        given = {name: getattr(self, name) for name in ("modulus", "window", "alphabet", "noise")}
        sinks = [[token, list(outcomes)] for token, outcomes in sorted(self.sinks.items())]
        return given | ({"sinks": sinks} if sinks else {})

    def __eq__(self, other) -> bool:
        return isinstance(other, Recurrence) and self.settings == other.settings

    def __hash__(self) -> int:
        return hash(str(self.settings))

    def __reduce__(self):
        return Recurrence, tuple(self.settings.values())  # tables are made again where they are needed

    @property
    def n_tokens(self) -> int:
        """Number of tokens, 2K, of both parities."""
        return 2 * self.alphabet

    @property
    def predictability(self) -> float:
        """Probability that the recurrence's own value comes next, exact; the noise can hit it too.

        ValueError in a world with sinks, where it depends on what is played.
        """
        self._check_no_sinks("predictability")
        return 1 - self.noise + self.noise / self.alphabet

    @property
    def floor(self) -> float:
        """Cross-entropy in nats of the best predictor of the next token (exact).

        ValueError in a world with sinks, where it depends on what is played.
        """
        self._check_no_sinks("floor")
        return float(entropy(self._outcome_table[0]))

    def _check_no_sinks(self, name: str) -> None:
        if self.sinks:
            raise ValueError(f"{name}: given a world with sinks {sorted(self.sinks)}, allowed is one without")

    @cached_property
    def _powers(self) -> np.ndarray:
        """Powers g⁰, g¹, … of the smallest primitive root, (q − 1,)."""
        order = self.modulus - 1
        for root in range(2, self.modulus + 1):
            powers = np.array([pow(root, e, self.modulus) for e in range(order)])
            if len(set(powers.tolist())) == order:
                return powers
        raise AssertionError("a prime modulus has a primitive root")

    @cached_property
    def logs(self) -> np.ndarray:
        """Discrete logarithm of token + 1 for each token, (2K,) int64."""
        inverse = np.argsort(self._powers)  # position of the unit u is inverse[u − 1]
        return inverse[: self.n_tokens].astype(np.int64)

    @cached_property
    def _type(self) -> type[np.integer]:
        """The type of tokens that are drawn, small where a sum of three logarithms fits, too."""
        return np.uint8 if 3 * self.modulus < 256 else np.int64

    @cached_property
    def residues(self) -> np.ndarray:
        """The noiseless x for each discrete logarithm of the product, (q − 1,)."""
        return self._powers % self.alphabet

    @cached_property
    def _outcome_table(self) -> np.ndarray:
        """Outcome probabilities for each logarithm of the full product, (q − 1, K)."""
        certain = np.eye(self.alphabet)[self.residues]
        return (1 - self.noise) * certain + self.noise / self.alphabet

    @cached_property
    def table(self) -> np.ndarray:
        """W(m, a, f), exact, (q − 1, 2K, K), of outcome f after action a on a history of class m."""
        total = np.arange(self.modulus - 1)[:, None] + self.logs[None, :]
        table = self._outcome_table[total % (self.modulus - 1)]
        for token, outcomes in self.sinks.items():
            table[:, token] = self.noise / self.alphabet
            table[:, token, list(outcomes)] += (1 - self.noise) / len(outcomes)
        return table

    def classes(self, histories) -> np.ndarray:
        """Class m of each history: the logarithm of the product of its last window − 1 tokens + 1, (N,)."""
        histories = self._checked(histories)
        return self._log_product(histories[:, histories.shape[1] - self.window + 1 :])

    def outcome_probs(self, histories, actions) -> np.ndarray:
        """Exact probabilities of the next even-position token after each history and action.

        histories (N, T >= window), ending at an even position; actions (N,) tokens -> (N, K).
        """
        histories, actions = self._checked(histories), to_numpy(actions, "actions")
        if actions.shape != (len(histories),):
            raise ValueError(f"actions: shape {actions.shape}, allowed is ({len(histories)},)")
        self._check_tokens(actions, "actions")
        return self.table[self.classes(histories), actions]

    __call__ = outcome_probs

    def noiseless_next(self, tokens) -> np.ndarray:
        """x_t without noise or sinks, 0..K−1, after each row of tokens (N, T >= window), of either parity."""
        tokens = self._token_array(tokens)
        return self.residues[self._log_product(tokens[:, -self.window :])]

    def next_probs(self, histories) -> np.ndarray:
        """The generator as a policy: probabilities of its own next (odd-position) token, (N, 2K)."""
        histories = self._checked(histories)
        outcome = self._outcome_table[self._log_product(histories[:, -self.window :])]
        return np.concatenate([np.zeros_like(outcome), outcome], 1)

    def sample(self, n: int, length: int, *, seed, burn_in: int = 200, explore: float = 0.0) -> np.ndarray:
        """n independent sequences, (n, length) integers; column 0 is an even position.

        explore: probability of an intervention at an odd position: a uniform odd token is played in place of
        the sequence's own, and the sequence goes on from it. burn_in: tokens generated and dropped before,
        even, so that parity stays with position.
        seed: a non-negative integer, or a list of them. NumPy reads [s, 0] as s: end lists with other than 0.
        """
        check_integer("n", n, 1), check_integer("length", length, 1)
        _check_burn_in(burn_in)
        block = (self.window + burn_in + length) * min(n, _BLOCK)
        check_memory("n, length", (n, length), 8.0 * (n * length + block))
        rng, explore = np.random.default_rng(check_seed(seed)), as_number(explore, "explore", 0, 1)
        sizes = (min(_BLOCK, n - start) for start in range(0, n, _BLOCK))
        return np.concatenate([self._block(size, burn_in, length, explore, rng) for size in sizes])

    def histories(self, n: int, length: int = 20, *, seed, burn_in: int = 200) -> np.ndarray:
        """n histories (n, length) that end at an even position: the policy acts next, at odd t."""
        skip = (check_integer("length", length, 1) + 1) % 2
        return self.sample(n, length + skip, seed=seed, burn_in=burn_in)[:, skip:]

    def class_shares(self) -> np.ndarray:
        """Stationary share of each class at odd t, (q − 1,): 2²¹ positions from 200 on, fixed seed.

        Standard error of an entry about 2·10⁻⁴; computed once a process.
        """
        return _stationary(self)[0].copy()

    def independent_shares(self) -> np.ndarray:
        """What `class_shares` would be were tokens independent and even in their halves, (q − 1,); exact.

        So they are at noise 1. One multiplies window − 1 tokens, the last of them at an even position.
        """
        halves = np.eye(self.modulus - 1)[self.logs.reshape(2, -1)].mean(1)  # (2, q − 1)
        transform = np.fft.rfft(halves)  # a product of tokens is a sum of logarithms: shares are convolved
        each = np.bincount(np.arange(self.window - 1) % 2, minlength=2)[:, None]
        return np.fft.irfft((transform**each).prod(0), self.modulus - 1).clip(0)

    def marginals(self) -> np.ndarray:
        """Stationary shares of x_t = s_t mod K at even and at odd positions, (2, K); as `class_shares`."""
        return _stationary(self)[1].copy()

    def ceiling(self, goal, *, actions: str = "odd") -> float:
        """Best reachable success rate on `goal`, playing odd-position tokens only or all tokens.

        Averages the best action of each class over `class_shares`.
        """
        check_choice("actions", actions, ("odd", "all"))
        first = self.alphabet if actions == "odd" else 0
        success = self.table[:, first:, goal_mask(goal, self.alphabet)].sum(-1)
        return float(self.class_shares() @ success.max(1))

    def ceilings(self, goals: Mapping) -> dict:
        """{name: {"chance", "odd tokens", "all tokens"}} of named goals: by luck, and at best."""
        return {
            name: {"chance": len(as_goal(goal, self.alphabet)) / self.alphabet}
            | {f"{actions} tokens": self.ceiling(goal, actions=actions) for actions in ("odd", "all")}
            for name, goal in goals.items()
        }

    def success_range(self, goal) -> tuple[float, float]:
        """(least, greatest) reachable success rate on `goal`, playing any token: see `ceiling`."""
        failures = np.flatnonzero(~goal_mask(goal, self.alphabet))
        return 1 - self.ceiling(failures, actions="all"), self.ceiling(goal, actions="all")

    def op_range(self, goal, success) -> tuple[np.ndarray, np.ndarray]:
        """(least, greatest) Op, in nats, of any policy that succeeds at these rates; shapes as given.

        No outcome is rarer than noise / K, so a future of least entropy has one success and one failure
        beside such crumbs; one of greatest entropy is even within both. The entropies of the unoptimized
        futures D_a differ little, and the two ends are too wide by no more than their spread. ValueError
        if the noise puts a rate out of reach.
        """
        mask, s = goal_mask(goal, self.alphabet), as_rate(success, "success")
        crumb, good = self.noise / self.alphabet, int(mask.sum())
        bad = self.alphabet - good
        if ((s < good * crumb - 1e-12) | (s > 1 - bad * crumb + 1e-12)).any():
            reach = f"[{good * crumb:.6g}, {1 - bad * crumb:.6g}]"
            raise ValueError(f"success: given {s.min():.6g} to {s.max():.6g}, allowed is {reach}")
        unoptimized = entropy(np.tensordot(self.class_shares(), self.table, 1))  # (A,) H(D_a)
        narrow = np.full((*s.shape, self.alphabet), crumb)
        narrow[..., 0] = s - (good - 1) * crumb
        narrow[..., 1] = 1 - s - (bad - 1) * crumb
        wide = np.log(self.alphabet) - implied_op(s, good / self.alphabet)
        return unoptimized.min() - wide, unoptimized.max() - entropy(narrow.clip(crumb))

    def _block(self, n: int, burn_in: int, length: int, explore: float, rng) -> np.ndarray:
        """n sequences, small enough a block that the working arrays stay in cache."""
        tokens = np.empty((self.window + burn_in + length, n), dtype=self._type)
        parity = (np.arange(-self.window, 0) % 2)[:, None]
        tokens[: self.window] = rng.integers(self.alphabet, size=(self.window, n)) + self.alphabet * parity
        self._extend(tokens, explore, rng)
        return tokens[self.window + burn_in :].T

    def _extend(self, tokens: np.ndarray, explore: float, rng) -> None:
        """Fill tokens[window:] (time first) by the recurrence, from its first `window` rows."""
        order = self.modulus - 1
        reduced, residues, of_token = (
            table.astype(self._type) for table in (np.arange(3 * order) % order, self.residues, self.logs)
        )
        logs = np.empty_like(tokens)
        logs[: self.window] = of_token[tokens[: self.window]]
        total = (logs[: self.window].sum(0, dtype=np.int64) % order).astype(self._type)
        # an intervention is more noise, at odd positions
        thresholds = [int(rate * 2**32) for rate in (self.noise, self.noise + explore * (1 - self.noise))]
        for t in range(self.window, len(tokens)):
            draw = rng.integers(2**32, size=tokens.shape[1], dtype=np.uint32)
            value = residues.take(total)
            for token, outcomes in self.sinks.items() if (t - self.window) % 2 == 0 else ():
                sunk = np.flatnonzero(tokens[t - 1] == token)
                value[sunk] = rng.choice(outcomes, size=len(sunk))
            # one draw serves twice: below the threshold there is noise, and its value is uniform there
            noisy = np.flatnonzero(draw < thresholds[(t - self.window) % 2])
            value[noisy] = draw[noisy] % self.alphabet
            np.add(value, self.alphabet * ((t - self.window) % 2), out=tokens[t], casting="unsafe")
            of_token.take(tokens[t], out=logs[t])
            total = reduced.take(total + logs[t] + (order - logs[t - self.window]))

    def _log_product(self, tokens: np.ndarray) -> np.ndarray:
        return self.logs[tokens].sum(1) % (self.modulus - 1)

    def _checked(self, histories) -> np.ndarray:
        """Histories that a policy may answer: they end at an even position."""
        histories = self._token_array(histories)
        even = histories[:, ::-1][:, ::2]
        if even.max() >= self.alphabet:
            raise ValueError(
                f"histories: token {even.max()} at an even position, allowed is 0..{self.alphabet - 1}"
                " (a history ends at an even position; the policy acts next)"
            )
        return histories

    def _token_array(self, histories) -> np.ndarray:
        histories = to_numpy(histories, "histories")
        if histories.ndim != 2 or len(histories) == 0 or histories.shape[1] < self.window:
            raise ValueError(f"histories: shape {histories.shape}, allowed is (N >= 1, T >= {self.window})")
        self._check_tokens(histories, "histories")
        return histories

    def _check_tokens(self, tokens: np.ndarray, name: str) -> None:
        if not np.issubdtype(tokens.dtype, np.integer):
            raise ValueError(f"{name}: {tokens.dtype} entries, allowed are integer tokens")
        if tokens.min() < 0 or tokens.max() >= self.n_tokens:
            raise ValueError(
                f"{name}: tokens {tokens.min()} to {tokens.max()}, allowed is 0..{self.n_tokens - 1}"
            )


@lru_cache(maxsize=8)
def _stationary(world: Recurrence) -> tuple[np.ndarray, np.ndarray]:
    """Class shares and marginals over many positions of many sequences."""
    modulus, window, alphabet = world.modulus, world.window, world.alphabet
    length = 128 + window + window % 2
    sequences = world.sample(2**15, length, seed=0)
    logs = world.logs[sequences].cumsum(1)
    ends = np.arange(length - 128, length, 2)  # even positions: the policy acts next
    product = (logs[:, ends] - logs[:, ends - (window - 1)]) % (modulus - 1)
    shares = np.bincount(product.ravel(), minlength=modulus - 1) / product.size
    halves = [sequences[:, parity::2] - parity * alphabet for parity in (0, 1)]
    marginals = [np.bincount(half.ravel(), minlength=alphabet) / half.size for half in halves]
    return shares, np.array(marginals)


POST = Recurrence()  # the post's own


# --- the same rule in torch -----------------------------------------------------------------------------


def drawn(world: Recurrence, n: int, length: int, generator, *, burn_in: int = 200, explore: float = 0.0):
    """As `Recurrence.sample`, a tensor (n, length), on a torch.Generator's device and from its stream."""
    import torch

    _check_burn_in(burn_in)
    there = {"generator": generator, "device": generator.device}
    logs, residues = (_tensor(table, generator.device) for table in (world.logs, world.residues))
    window, order = world.window, world.modulus - 1
    tokens = torch.empty((window + burn_in + length, n), dtype=torch.int64, device=generator.device)
    parity = torch.arange(window, device=generator.device)[:, None] % 2
    tokens[:window] = torch.randint(world.alphabet, (window, n), **there) + world.alphabet * parity
    total = logs[tokens[:window]].sum(0)
    rates = (world.noise, world.noise + explore * (1 - world.noise))
    for t in range(window, len(tokens)):
        random = torch.randint(world.alphabet, (n,), **there)
        own = residues[total % order]
        for token, outcomes in world.sinks.items() if (t - window) % 2 == 0 else ():
            drawn_one = torch.randint(len(outcomes), (n,), **there)
            own = torch.where(tokens[t - 1] == token, _tensor(np.array(outcomes), own.device)[drawn_one], own)
        value = torch.where(torch.rand(n, **there) < rates[(t - window) % 2], random, own)
        tokens[t] = value + world.alphabet * ((t - window) % 2)
        total += logs[tokens[t]] - logs[tokens[t - window]]
    kept = torch.uint8 if world.n_tokens <= 256 else torch.int64  # a device's memory holds all tokens
    return tokens[window + burn_in :].T.to(kept).contiguous()


def _check_burn_in(burn_in: int) -> None:
    if check_integer("burn_in", burn_in, 0) % 2:
        raise ValueError(f"burn_in: given {burn_in}, allowed is an even number (parity stays with position)")


def classes_of(world: Recurrence, histories):
    """`Recurrence.classes` of a tensor of histories (..., T), where they are: (...).

    ValueError if they are too short for their classes: T < window − 1.
    """
    if histories.shape[-1] < world.window - 1:
        shape = tuple(histories.shape)
        raise ValueError(f"histories: shape {shape}, allowed is (..., T >= {world.window - 1})")
    logs = _tensor(world.logs, histories.device)
    return logs[histories[..., 1 - world.window :].long()].sum(-1) % (world.modulus - 1)


def _tensor(table: np.ndarray, device):
    import torch

    return torch.as_tensor(table.astype(np.int64), device=device)
