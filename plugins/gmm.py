"""Gaussian mixture, fitted by expectation maximisation: what a model without a neural network reaches.

Dempster, Laird and Rubin 1977, "Maximum Likelihood from Incomplete Data via the EM Algorithm", example 4.3;
as a rival of GANs on whole images, Richardson and Weiss 2018, "On GANs and GMMs". A full covariance of a large
image has too many entries to be held, let alone fitted, so they give each component a covariance of low rank.
Here all components share one subspace, that of the principal components (Pearson 1901), and have
full covariances in it; what lies outside is left at its mean. Nothing is lost up to ``dimensions`` numbers a sample.
Components, dimensions and regularisation are what a search chose (results/tuning).
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Annotated, Any

import torch
from ganbench_plugins.memorizer import Memorizer
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from torch import Generator, Tensor

from ganbench.plugin import Batch, Clock, Range, Variant, hookimpl


class GMM(Memorizer):
    """Mixture of Gaussians, fitted to the first ``capacity`` different training samples in few dimensions.

    It is fitted again whenever the number of samples kept has doubled, when they are complete, and when training ends.

    Attributes:
        weights, means, factors: of the k components in d principal dimensions: ``(k,)``, ``(k, d)`` and the lower
            Cholesky factors of the covariances ``(k, d, d)``.
        centre, axes: the subspace: the mean ``(D,)`` and orthonormal rows ``(d, D)`` of flattened samples.
    """

    name = "gmm"
    role = "variant"
    family = "gaussian mixture"
    components: int
    dimensions: int
    regularisation: float
    weights: Tensor
    means: Tensor
    factors: Tensor
    centre: Tensor
    axes: Tensor

    def __init__(
        self,
        shape: torch.Size,
        components: Annotated[int, Range(1, 200, log=True), "Gaussians in the mixture"] = 110,
        dimensions: Annotated[int, Range(2, 256, log=True), "principal components that are modelled"] = 180,
        regularisation: Annotated[
            float, Range(1e-9, 1.0, log=True), "added to the variances, images being in [-1, 1]"
        ] = 9.2e-7,
        capacity: Annotated[int, Range(100, 1_000_000, log=True), "different samples fitted, the first seen"] = 4_000,
        **hyperparameters: Any,
    ) -> None:
        super().__init__(
            shape,
            components=components,
            dimensions=dimensions,
            regularisation=regularisation,
            capacity=capacity,
            **hyperparameters,
        )
        size = self.shape.numel()
        # Before the first fit: one standard normal in the leading dimensions.
        d = min(dimensions, size)
        self.register_buffer("weights", torch.ones(1))
        self.register_buffer("means", torch.zeros(1, d))
        self.register_buffer("factors", torch.eye(d)[None])
        self.register_buffer("centre", torch.zeros(size))
        self.register_buffer("axes", torch.eye(d, size))
        self.fitted = 0  # samples at the last fit

    def train_step(self, batch: Batch, clock: Clock) -> Mapping[str, Tensor]:
        before = len(self.kept)
        super().train_step(batch, clock)
        count = len(self.kept)
        if count > max(self.fitted, 1) and (count >= 2 * self.fitted or count == before or clock.last):
            self.fit()
        return {}

    def fit(self) -> None:
        """Fit to all samples kept, and copy the result into buffers: scikit-learn's own objects survive no resume."""
        rows = self.values(self.kept).flatten(1).cpu().numpy()
        d = min(self.dimensions, *rows.shape)
        pca = PCA(d, svd_solver="covariance_eigh" if rows.shape[1] <= 1024 else "randomized", random_state=0)
        mixture = GaussianMixture(
            min(self.components, len(rows)), covariance_type="full", reg_covar=self.regularisation, random_state=0
        )
        with warnings.catch_warnings():
            # EM that is cut off, and a start with equal centres, leave a mixture like any other.
            warnings.simplefilter("ignore", ConvergenceWarning)
            mixture.fit(pca.fit_transform(rows).astype("float64"))
        device = self.weights.device
        self.weights = torch.from_numpy(mixture.weights_).float().to(device)
        self.means = torch.from_numpy(mixture.means_).float().to(device)
        self.factors = torch.linalg.cholesky(torch.from_numpy(mixture.covariances_)).float().to(device)
        self.centre = torch.from_numpy(pca.mean_).float().to(device)
        self.axes = torch.from_numpy(pca.components_).float().to(device)
        self.fitted = len(rows)

    def sample(self, n: int, rng: Generator | None = None) -> Tensor:
        component = torch.multinomial(self.weights, n, replacement=True, generator=rng)
        z = torch.randn(n, self.means.shape[1], generator=rng, device=self.means.device)
        projected = self.means[component] + torch.einsum("nij,nj->ni", self.factors[component], z)
        return (self.centre + projected @ self.axes).reshape(n, *self.shape)


@hookimpl
def ganbench_variants() -> list[type[Variant]]:
    return [GMM]
