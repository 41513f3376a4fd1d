"""The comparison in training: what a user would write with PyTorch's own layers, one model at a time."""

import torch
import torch.nn.functional as F
from torch import nn

from splithistory.data import training_windows
from splithistory.training import Pretraining
from splithistory.transformer import Architecture, positions


class PlainTransformer(nn.Module):
    """Next-token logits (B, V) of histories (B, T): the same function of the same weights as ours, by
    `nn.TransformerEncoder`, which computes every token in every layer and drops attention weights too."""

    def __init__(self, architecture: Architecture, dropout: float):
        super().__init__()
        a = architecture
        self.embedding = nn.Embedding(a.n_tokens, a.width)
        self.register_buffer("code", positions(a.context, a.width))
        layer = nn.TransformerEncoderLayer(
            a.width, a.heads, a.width * a.expansion, dropout, batch_first=True, norm_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, a.layers, enable_nested_tensor=False)
        self.readout = nn.Linear(a.width, a.n_tokens)

    def forward(self, tokens):
        return self.readout(self.encoder(self.embedding(tokens) + self.code)[:, -1])


def train(architecture: Architecture, config: Pretraining, progress, device="cpu") -> None:
    """Train one model, and after each step call `progress` with the number of steps done."""
    windows = torch.as_tensor(training_windows(config.train_size, architecture.context, 0), device=device)
    model = PlainTransformer(architecture, config.dropout).to(device).train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=config.rate, weight_decay=config.weight_decay)
    for step in range(1, config.steps + 1):
        batch = windows[torch.randint(len(windows), (config.batch,), device=device)].long()
        loss = F.cross_entropy(model(batch[:, :-1]), batch[:, -1])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        progress(step)
