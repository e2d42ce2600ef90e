"""Candidates: which cards and cores of a cluster could carry a lane at all, and why the others could not. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from actors.cluster.slots import NVDEC, NVENC, Slot
from actors.cluster.snapshot import DRIVER_LABEL, ClusterSnapshot, NodeSnapshot
from dualface_ray.errors import PlacementError, ProfileError
from dualface_ray.hardware import Profile, check_verified, profile_of
from dualface_ray.settings import Settings

_UNKNOWN_STREAMS = 16
"""Videos at once on a card without a profile: as measured on an H200 (docs/performance.md)."""
_UNKNOWN_SPEED = 15.0
"""First guess for a card without a profile, in seconds of video a second."""
_CORE_SPEED = 0.6
"""First guess for a core of a CPU lane: 1080p at 30 fps takes about two."""


@dataclass(frozen=True, slots=True)
class Candidates:
    """Places for lanes, and for each place that is none a sentence why."""

    backend: str
    """cuda when lanes run on cards, cpu when none does."""
    slots: tuple[Slot, ...]
    reasons: tuple[str, ...]
    error: PlacementError | None = None
    """The most telling of the reasons, for when nothing can run."""
    settings: Settings | None = None
    cpus: float = 0.0

    def nothing_fits(self) -> PlacementError:
        """The error of a plan without lanes."""
        if self.error is not None:
            return self.error
        lane = self.settings.lane if self.settings else None
        count, cores = (max(1, lane.count), max(1, lane.cores)) if lane else (1, 1)
        return PlacementError(
            f"{count} lane{'s' if count > 1 else ''} of {cores} core{'s' if cores > 1 else ''} cannot be placed on the "
            f"{self.cpus:g} that the cluster declares",
            where="lane.cores",
            remedy="Ask for fewer lanes or fewer cores a lane.",
        )


def find_candidates(settings: Settings, snapshot: ClusterSnapshot, profiles: Callable[[str], Profile]) -> Candidates:
    """All slots of a cluster, whether free at the moment or not.

    Raises:
        PlacementError: the settings ask for cards and the cluster declares none.
        ProfileError: a node's profile does not exist or is not verified.
    """
    lane = settings.lane
    hosts = [node for node in snapshot.hosts if not node.draining]
    cards = sum(int(node.total("GPU")) for node in hosts)
    backend = lane.backend if lane.backend != "auto" else "cuda" if cards else "cpu"
    if backend == "cuda" and not cards:
        raise PlacementError(
            "no GPU is declared in this Ray cluster",
            where="lane.backend=cuda",
            remedy="Start Ray where the driver sees the card, or set lane.backend=cpu.",
        )
    slots: list[Slot] = []
    reasons: list[str] = []
    errors: list[PlacementError] = []
    for node in hosts:
        count = int(node.total("GPU")) if backend == "cuda" else 0
        if count:
            profile = _profile_of(node, settings, profiles)
            error = _undeclared(node, profile, settings, hosts)
            if error is None:
                slots += [_card(node, profile, settings) for _ in range(count)]
            else:
                errors.append(error)
                reasons.append(f"{node.name}: {error.what}")
        joins = backend == "cpu" or lane.join_cpu == "cores" or (lane.join_cpu == "nodes" and not count)
        if joins and node.total("CPU") >= max(1, lane.cores):
            # one lane takes all the cores it is given; more only where their number or their size is asked for
            fits = int(node.total("CPU") // max(1, lane.cores))
            lanes = min(fits, lane.count) if backend == "cpu" and lane.count else 1
            slots += [_cores(node, settings) for _ in range(lanes)]
    error = errors[0] if errors and not slots else None
    return Candidates(backend, tuple(slots), tuple(reasons), error, settings, snapshot.total("CPU"))


def _profile_of(node: NodeSnapshot, settings: Settings, profiles: Callable[[str], Profile]) -> Profile | None:
    """What the node says of its cards, else what the settings say of all that are mute.

    Raises:
        ProfileError: it does not exist or is not verified; with the node's name.
    """
    try:
        profile = profile_of(node.labels, profiles)
        if profile is None and settings.lane.profile:
            profile = profiles(settings.lane.profile)
        if profile is not None:
            check_verified(profile, allow_unverified=settings.lane.allow_unverified_profile)
    except ProfileError as error:
        where = f"{node.name}: {error.where}" if node.name else error.where
        raise ProfileError(error.what, where=where, remedy=error.remedy) from None
    return profile


def _encoder(profile: Profile | None, node: NodeSnapshot, settings: Settings) -> str:
    """Who encodes on this card: nvenc, cpu, or (without a profile or a declaration) whatever the backend finds."""
    if settings.lane.encoder == "cpu":
        return "cpu"
    if profile is None:
        return "nvenc" if NVENC in node.resources or settings.lane.encoder == "nvenc" else ""
    return "nvenc" if settings.encode.codec in profile.encode.codecs.value else "cpu"


def _undeclared(
    node: NodeSnapshot, profile: Profile | None, settings: Settings, hosts: Sequence[NodeSnapshot]
) -> PlacementError | None:
    """Why this node's cards cannot be used: a resource that it does not declare and that no waiting would bring."""
    if profile is None:
        return None
    encoder = _encoder(profile, node, settings)
    if settings.lane.encoder == "nvenc" and encoder != "nvenc":
        codec = settings.encode.codec
        return PlacementError(
            f"the {profile.card} has no NVENC" + (f" for {codec}" if profile.has_nvenc else ""),
            where="lane.encoder=nvenc",
            remedy="Set lane.encoder=auto: such cards then encode on the CPU.",
        )
    needed = [NVDEC] + ([NVENC] if encoder == "nvenc" else [])
    missing = [name for name in needed if name not in node.resources]
    if not missing:
        return None
    owners = [other.name for other in hosts if missing[0] in other.resources]
    wanted = profile.node_resources(int(node.total("GPU")), node.labels.get(DRIVER_LABEL, ""))
    wanted = {name: amount for name, amount in wanted.items() if name in needed}
    text = ", ".join(f'"{name}": {amount}' for name, amount in wanted.items())
    return PlacementError(
        f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} declared by "
        f"{'nobody' if not owners else 'other nodes only: ' + ', '.join(owners)}, and its profile {profile.name} "
        "needs it",
        where=node.name or "this cluster",
        remedy=f"Start the node with: ray start --resources='{{{text}}}'.",
    )


def _card(node: NodeSnapshot, profile: Profile | None, settings: Settings) -> Slot:
    encoder = _encoder(profile, node, settings)
    files = 2 if settings.framing.layout == "separate" else 1  # each output file is one encoder session
    most, card = settings.lane.streams or _UNKNOWN_STREAMS, None
    if profile is not None:
        most = settings.lane.streams or profile.lane.streams.value
        if encoder == "nvenc":
            cap = profile.session_cap(node.labels.get(DRIVER_LABEL, ""))
            wish = max(files, profile.lane.encoders.value)
            card = wish if cap is None else min(wish, cap)
    return Slot(
        node=node,
        gpu=True,
        profile=profile,
        encoder=encoder,
        most_streams=most,
        speed=profile.lane.speed.value if profile else _UNKNOWN_SPEED,
        decoder_sessions=1 if profile is not None or NVDEC in node.resources else 0,
        encoder_sessions=files if encoder == "nvenc" else 0,
        card_sessions=card,
    )


def _cores(node: NodeSnapshot, settings: Settings) -> Slot:
    return Slot(
        node=node,
        gpu=False,
        profile=None,
        encoder="cpu",
        most_streams=settings.lane.streams or _UNKNOWN_STREAMS,
        speed=_CORE_SPEED,
        decoder_sessions=0,
        encoder_sessions=0,
    )
