"""A network that only answers, such as a teacher: no gradients, norms folded, weights channels-last."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_eval


def freeze(model: nn.Module, low: torch.dtype | None = None) -> nn.Module:
    """Prepare `model`, in place, for inference alone: eval mode, no gradients, each
    batch norm folded into the convolution before it, convolutions channels-last. Its numbers stay the same
    but for rounding. `low`: the type that autocast multiplies in, to which weights are then cast once instead
    of in every step."""
    fold_norms(model.eval().requires_grad_(False))
    channels_last(model)
    if low is not None:
        cast_products(model, low)
    return model


def cast_products(module: nn.Module, kind: torch.dtype) -> None:
    """Cast the weights of convolutions, linear layers and attentions, in place; they are what autocast casts
    before it multiplies."""
    for part in module.modules():
        if isinstance(part, nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.Linear | nn.MultiheadAttention):
            for parameter in part.parameters(recurse=False):
                parameter.data = parameter.data.to(kind)


def fold_norms(module: nn.Module) -> None:
    """Fold every batch norm that directly follows a convolution in a sequence into it."""
    for child in module.children():
        if not isinstance(child, nn.Sequential):
            fold_norms(child)
            continue
        for number in range(len(child)):
            here, before = child[number], child[number - 1] if number else None
            if isinstance(here, _BatchNorm) and isinstance(before, nn.Conv1d | nn.Conv2d | nn.Conv3d):
                child[number - 1] = fuse_conv_bn_eval(before, here)
                child[number] = nn.Identity()
            else:
                fold_norms(here)


def channels_last(module: nn.Module) -> None:
    """Lay the weights of all convolutions out channels-last, in place."""
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            part.weight.data = part.weight.data.contiguous(memory_format=torch.channels_last)
        elif isinstance(part, nn.Conv3d):
            part.weight.data = part.weight.data.contiguous(memory_format=torch.channels_last_3d)
