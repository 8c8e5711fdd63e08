"""The VAE's two halves as roles. Latents are scaled, images are in [-1, 1]."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

__all__ = ["LOG_VARIANCE", "Decode", "Encode", "Posterior"]

LOG_VARIANCE = (-30.0, 20.0)  # limits of the posterior's: AutoencoderKL, DiagonalGaussianDistribution


class Posterior(nn.Module):
    """`moments` `[N, 2C, H, W]`, `noise` `[N, C, H, W]` to (mean + exp(logvar / 2) * noise) * scaling, in float32.

    Everything is cast here, so that half precision does not round the state.
    """

    def __init__(self, scaling: float) -> None:
        super().__init__()
        self.scaling = scaling

    def forward(self, moments: Tensor, noise: Tensor) -> Tensor:
        mean, logvar = moments.float().chunk(2, dim=1)
        std = (0.5 * logvar.clamp(*LOG_VARIANCE)).exp()
        return (mean + std * noise.float()) * self.scaling


class Encode(nn.Module):
    """The role `encode`: `lq` `[N, 3, fH, fW]` in [-1, 1] and N(0, 1) `noise` `[N, C, H, W]` to `state`.

    Zeros as noise give the posterior's mean. `vae` is diffusers' AutoencoderKL.
    """

    def __init__(self, vae: Any, scaling: float) -> None:
        super().__init__()
        self.encoder, self.quant_conv, self.posterior = vae.encoder, vae.quant_conv, Posterior(scaling)

    def forward(self, lq: Tensor, noise: Tensor) -> Tensor:
        return self.posterior(self.quant_conv(self.encoder(lq)), noise)  # type: ignore[no-any-return]


class Decode(nn.Module):
    """The role `decode`: `state` `[N, C, H, W]` to `hq` `[N, 3, fH, fW]`, not clamped."""

    def __init__(self, vae: Any, scaling: float) -> None:
        super().__init__()
        self.post_quant_conv, self.decoder, self.scaling = vae.post_quant_conv, vae.decoder, scaling

    def forward(self, state: Tensor) -> Tensor:
        return self.decoder(self.post_quant_conv(state / self.scaling))  # type: ignore[no-any-return]
