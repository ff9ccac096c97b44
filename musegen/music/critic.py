"""MuseNet's inner critic (Payne 2019): is this real music, or what the model wrote?

MuseNet is trained on the side to tell pieces of its corpus from earlier ones of its own, and what it says of samples
chooses among them. Here it is a head of its own on the hidden states of a finished Muse, which stays as it is: at each
position a small network says what it makes of the music so far, and the mean of that is the verdict on the piece.
"""

from dataclasses import dataclass
from typing import Annotated

import torch.nn.functional as F
from torch import Tensor, nn

from musegen.train.recipe import Positive, Range


@dataclass(frozen=True)
class CriticConfig:
    """The shape of a critic.

    Args:
        d_model: width of the Muse whose hidden states it reads.
        d_hidden: width of its hidden layer.
        dropout: share of hidden states, and of its hidden layer, dropped in training.
    """

    d_model: Positive = 256
    d_hidden: Positive = 32
    dropout: Annotated[float, Range(0.0, 1.0, open_high=True)] = 0.2


PRESETS: dict[str, CriticConfig] = {"muse-small-critic": CriticConfig()}


class Critic(nn.Module):
    """The model.

    Args:
        config: its shape.
    """

    def __init__(self, config: CriticConfig):
        super().__init__()
        self.config = config
        self.expand = nn.Linear(config.d_model, config.d_hidden)
        self.head = nn.Linear(config.d_hidden, 1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, hidden: Tensor, counted: Tensor) -> Tensor:
        """Returns the log-odds that pieces are real: (B,) float32.

        Args:
            hidden: (B, T, C) Muse's hidden states.
            counted: (B, T) bool: which of them count, one or more in each row.
        """
        share = self.config.dropout
        x = F.gelu(self.expand(F.dropout(hidden.float(), share, self.training)))
        each = self.head(F.dropout(x, share, self.training))[..., 0].float()  # (B, T)
        return each.masked_fill(~counted, 0.0).sum(1) / counted.sum(1)

    def losses(self, hidden: Tensor, counted: Tensor, is_real: Tensor) -> Tensor:
        """Returns -log p in nats of what each piece (B,) bool is: (B,) float32."""
        return F.binary_cross_entropy_with_logits(self(hidden, counted), is_real.float(), reduction="none")
