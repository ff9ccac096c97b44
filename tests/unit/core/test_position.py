"""Rotary positions."""

import torch

from musegen.core.position import Rotary


def test_products_depend_on_the_distance_only():
    rotary = Rotary(16, 64)
    q, k = torch.randn(16), torch.randn(16)
    rotated_q, rotated_k = (rotary(x.expand(1, 64, 1, 16)) for x in (q, k))
    products = torch.einsum("btd,bsd->ts", rotated_q[:, :, 0], rotated_k[:, :, 0])
    for distance in (0, 1, 5, 40):
        diagonal = products.diagonal(-distance)
        torch.testing.assert_close(diagonal, diagonal[:1].expand_as(diagonal), atol=1e-4, rtol=1e-4)


def test_positions_of_single_tokens_equal_those_of_sequences():
    rotary = Rotary(8, 20)
    x = torch.randn(3, 20, 2, 4, 8)
    positions = torch.tensor([0, 19, 7])
    whole = rotary(x)[torch.arange(3), positions]
    single = rotary(x[torch.arange(3), positions][:, None], positions)
    torch.testing.assert_close(single[:, 0], whole, atol=0, rtol=0)


def test_keeps_dtype_and_is_not_saved():
    rotary = Rotary(8, 20)
    assert rotary(torch.randn(1, 5, 2, 8, dtype=torch.bfloat16)).dtype == torch.bfloat16
    assert not rotary.state_dict()
