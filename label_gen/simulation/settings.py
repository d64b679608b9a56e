"""What can be set about simulated fractures and the CT they are seen in."""

from __future__ import annotations

from dataclasses import dataclass, field

from label_gen.errors import UsageError

__all__ = ["FractureKinds", "SimulationSettings"]


@dataclass(frozen=True, kw_only=True)
class FractureKinds:
    """Weights of the ways in which two fragments lie to each other.

    Attributes:
        closed: Labels touch voxel on voxel; a small step in the cortex, and mostly a dark line.
        opened: Apart by 1 to 5 mm, turned a little.
        displaced: Apart or aside by 5 to 20 mm, turned up to 20 degrees.
        impacted: Pushed into each other by 1 to 4 mm.

    Source: chosen here; of the surface of real fragments near their neighbours 28 to 59 % touches voxel on voxel.
    """

    closed: float = 0.62
    opened: float = 0.22
    displaced: float = 0.07
    impacted: float = 0.09

    def __post_init__(self) -> None:
        weights = (self.closed, self.opened, self.displaced, self.impacted)
        if min(weights) < 0 or not sum(weights) > 0:
            raise UsageError(f"the shares of the kinds of fractures are weights from 0, not all 0; got: {weights}")


@dataclass(frozen=True, kw_only=True)
class SimulationSettings:
    """Settings of the simulator.

    Attributes:
        fragments: Fragments wanted per bone name, 1 to 23; bones not named are drawn.
        kinds: Weights of closed, opened, displaced and impacted fractures.
        crack_rate: Mean number of incomplete cracks in a broken bone; they separate nothing.
        label_cracks: Cracks part fragments in the labels too, where they cut through.
        chip_rate: Mean number of small chips (0.3 to 1.5 cm3) in a broken bone, beside those that the sizes of real
            fragments bring along.
        min_fragment_mm3: Smallest fragment.
        femora: Femora may break too.
        vary_anatomy: Change sizes and shapes of given bones at random, and take the mirror image of half of them.
        slice_thickness_mm: Width of the slice profile; None is the distance of the slices.
        noise_hu: Standard deviation of the noise in muscle; None draws 12 to 40.
        kernel: `soft`, `bone` or `random`.
        with_ct: Whether a CT is made.
    """

    fragments: dict[str, int] = field(default_factory=dict)
    kinds: FractureKinds = field(default_factory=FractureKinds)
    crack_rate: float = 0.4
    label_cracks: bool = False
    chip_rate: float = 0.05
    min_fragment_mm3: float = 300.0
    femora: bool = True
    vary_anatomy: bool = True
    slice_thickness_mm: float | None = None
    noise_hu: float | None = None
    kernel: str = "random"
    with_ct: bool = True

    def __post_init__(self) -> None:
        for name, count in self.fragments.items():
            if not 1 <= count <= 23:
                raise UsageError(f"{count} fragments are wanted of '{name}'; 1 to 23 are possible")
        for name in ("crack_rate", "chip_rate"):
            if not 0 <= getattr(self, name) <= 10:
                raise UsageError(f"{name} is a mean number per bone from 0 to 10; got: {getattr(self, name)}")
        if not 50 <= self.min_fragment_mm3 <= 100_000:
            raise UsageError(
                f"the smallest fragment is {self.min_fragment_mm3} mm3; 50 to 100,000 are possible (min_fragment_mm3)"
            )
        if self.slice_thickness_mm is not None and not 0.3 <= self.slice_thickness_mm <= 5.0:
            raise UsageError(f"the slice thickness is {self.slice_thickness_mm} mm; 0.3 to 5 are possible")
        if self.noise_hu is not None and not 0 <= self.noise_hu <= 200:
            raise UsageError(f"the noise is {self.noise_hu} HU; 0 to 200 are possible")
        if self.kernel not in ("soft", "bone", "random"):
            raise UsageError(f"the kernel is soft, bone or random; got: '{self.kernel}'")
