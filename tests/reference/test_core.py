"""core against torch's own layers and against formulas written in another way."""

import pytest
import torch
from torch import nn

from musegen.core.attention import MultiHeadAttention
from musegen.core.position import Rotary
from musegen.core.sparsity import Dense


@pytest.mark.parametrize("causal", [True, False])
def test_dense_attention_is_torchs(causal: bool):
    torch.manual_seed(0)
    ours = MultiHeadAttention(24, 3, Dense(causal), 17)
    theirs = nn.MultiheadAttention(24, 3, bias=False, batch_first=True)
    theirs.in_proj_weight = ours.project_in.weight
    theirs.out_proj.weight = ours.project_out.weight
    ours.rotary.cos.fill_(1.0)  # torch's layer knows no positions
    ours.rotary.sin.fill_(0.0)
    x = torch.randn(2, 17, 24)
    hidden = torch.ones(17, 17, dtype=torch.bool).triu(1) if causal else None
    expected, _ = theirs(x, x, x, attn_mask=hidden, need_weights=False)
    torch.testing.assert_close(ours(x), expected, atol=2e-6, rtol=1e-5)


def test_rotary_is_a_complex_rotation():
    # Su et al. 2021, section 3.2: at position m, channel pair j is multiplied by exp(i m theta_j).
    torch.manual_seed(0)
    x = torch.randn(2, 11, 3, 8)
    angles = torch.arange(11)[:, None] * 10000.0 ** (-torch.arange(4) / 4)
    turned = torch.complex(*x.chunk(2, -1)) * torch.polar(torch.ones(11, 4), angles)[:, None]
    torch.testing.assert_close(Rotary(8, 16)(x), torch.cat([turned.real, turned.imag], -1))
