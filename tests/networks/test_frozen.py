"""A frozen network answers as it did, with fewer operators."""

import pytest
import torch
from torch import nn

from avsync.networks.avst import AvstDims
from avsync.networks.dims import Dims
from avsync.networks.frozen import freeze
from avsync.networks.registry import AnyDims, build_network

SHAPES: list[AnyDims] = [
    Dims(channels=(4, 4, 8, 8, 16), d_model=16, heads=4, layers=2),
    Dims(front_end="frame2d", channels=(4, 4, 8, 8, 16), d_model=16, heads=4, layers=0, contrast=8),
    AvstDims(channels=(4, 4, 8, 8, 16), heads=4, layers=1),
]


@pytest.mark.parametrize("dims", SHAPES, ids=["clip3d", "frame2d", "avst"])
def test_the_numbers_stay_and_the_norms_of_the_convolutions_go(dims: AnyDims) -> None:
    torch.manual_seed(0)
    model = build_network(dims)
    for part in model.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            assert part.running_mean is not None and part.running_var is not None
            nn.init.uniform_(part.running_mean, -1, 1)
            nn.init.uniform_(part.running_var, 0.5, 2)
    inputs = torch.rand(3, 15, 48, 96), torch.randn(3, 1, 80, 16)
    with torch.no_grad():
        before = model.eval()(*inputs)
        after = freeze(model)(*inputs)
    torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-5)
    assert not any(isinstance(part, nn.modules.batchnorm._BatchNorm) for part in model.modules())
    assert not any(parameter.requires_grad for parameter in model.parameters())
