"""Ablation: every regulariser under identical conditions, and what data size, width and depth change. Ours."""

from __future__ import annotations

from verification.claims.ablation.charts import charts
from verification.claims.ablation.claims import claims
from verification.claims.ablation.nets import BATCH, METHODS, SIZES, nets
from verification.claims.ablation.tables import tables
from verification.claims.experiment import Conclusions, Experiment, Results


def conclude(results: Results, preset: str) -> Conclusions:
    """Claims, figures and tables of the ablation."""
    decided, undecidable = claims(results, preset)
    return Conclusions(decided, charts(results, preset), tables(results), undecidable)


def cuts(preset: str) -> tuple[str, ...]:
    """What was made small."""
    sizes = SIZES[preset]
    return (
        f"All {len(METHODS)} methods train on {sizes.samples:,} MNIST images for {sizes.epochs} epochs "
        f"(batches of {BATCH['methods']}), the same network, schedule and seeds; none is trained to its end.",
        "Each method has one strength, chosen beforehand with one network of another seed on 2,000 images: the "
        "strongest of a coarse grid (factors 2 to 3) that cost at most 1.2 points of held-out accuracy; adversarial "
        "training is taken as it is, strength 1.",
        f"{sizes.attacked} held-out and as many training images are attacked, with {sizes.attack_steps} gradient steps "
        f"and one walk each; {sizes.certified} images are attacked and certified, with the cheap certificates only.",
        f"Adversarial methods take {METHODS['adversarial ℓ2'][1]['steps']} gradient steps per batch.",
        f"Data sizes are {', '.join(f'{size:,}' for size in sizes.data_sizes)}, with fewer epochs for more images.",
    )


EXPERIMENT = Experiment(
    key="ablation",
    title="Regularisers under identical conditions",
    reference="own experiment",
    nets=nets,
    conclude=conclude,
    cuts=cuts,
    measuring={"quick": 8.0, "full": 12.0},
    memory=0.9,
)
