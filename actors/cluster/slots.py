"""Slots: the places where a lane could run, and dealing out what they share. Pure.

node, profile ─► Slot (one card, or a share of the cores) ─┐
declared and unreserved, cap of the machine ─► Stock ──────┴─► deal: first one video each, then round by round
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from actors.cluster.snapshot import DRIVER_LABEL, ClusterSnapshot, NodeSnapshot
from dualface_ray.hardware import Profile

NVDEC, NVENC = "nvdec_session", "nvenc_session"
"""Custom resources of a node: streams its cards may decode, encoder sessions its driver allows."""


@dataclass(slots=True)
class Slot:
    """A place for one lane."""

    node: NodeSnapshot
    gpu: bool
    profile: Profile | None
    encoder: str
    """nvenc, cpu, or empty: the backend finds out."""
    most_streams: int
    """Videos at once that the card, or the cores, can take; the settings' word where they say so."""
    speed: float
    """First guess, in seconds of video a second."""
    decoder_sessions: int
    """Each stream takes so many of ``nvdec_session``: 1 on a card with a profile or a declaration, else 0."""
    encoder_sessions: int
    """Each stream takes so many of ``nvenc_session``: the files of its layout, 0 without NVENC."""
    card_sessions: int | None = None
    """Encoder sessions this one card may have; None = no cap of its own."""
    streams: int = 0
    cores: int = 1

    @property
    def shares_machine_cap(self) -> bool:
        """Whether its sessions count against one cap for all cards of the machine (GeForce)."""
        return self.profile is not None and self.profile.encode.cap_scope == "machine" and self.encoder_sessions > 0


@dataclass(slots=True)
class Stock:
    """What is left to deal out: of each node what it declares and nobody has reserved, of each machine its cap."""

    nodes: dict[tuple[str, str], float] = field(default_factory=dict)
    machines: dict[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, snapshot: ClusterSnapshot, slots: Sequence[Slot]) -> Stock:
        """The stock of a cluster before anything is dealt out."""
        stock = cls()
        for node in snapshot.hosts:
            for name in ("CPU", "GPU", NVDEC, NVENC):
                stock.nodes[node.node_id, name] = node.free(name)
        for slot in slots:
            cap = slot.profile.session_cap(slot.node.labels.get(DRIVER_LABEL, "")) if slot.profile else None
            if slot.shares_machine_cap and cap is not None:
                known = stock.machines.get(slot.node.machine)
                stock.machines[slot.node.machine] = cap if known is None else min(known, cap)
        for machine in stock.machines:
            taken = [n.total(NVENC) - n.free(NVENC) for n in snapshot.hosts if n.machine == machine]
            stock.machines[machine] = max(0.0, stock.machines[machine] - sum(taken))
        return stock

    def open(self, slot: Slot, cores: int) -> str:
        """Take the card, the cores and the first stream of a slot; an empty text, or what is missing."""
        node = slot.node.node_id
        if slot.gpu and self.nodes[node, "GPU"] < 1:
            return "GPU"
        if self.nodes[node, "CPU"] < cores:
            return "CPU"
        missing = self.missing(slot)
        if missing:
            return missing
        self.nodes[node, "GPU"] -= slot.gpu
        self.nodes[node, "CPU"] -= cores
        self.take(slot)
        return ""

    def missing(self, slot: Slot) -> str:
        """What one more stream of this slot lacks; empty when it can have one."""
        node = slot.node.node_id
        if self.nodes[node, NVDEC] < slot.decoder_sessions:
            return NVDEC
        if self.nodes[node, NVENC] < slot.encoder_sessions:
            return NVENC
        if slot.shares_machine_cap and self.machines[slot.node.machine] < slot.encoder_sessions:
            return NVENC
        if slot.card_sessions is not None and (slot.streams + 1) * slot.encoder_sessions > slot.card_sessions:
            return NVENC
        return ""

    def take(self, slot: Slot) -> None:
        """One more stream for this slot."""
        self.nodes[slot.node.node_id, NVDEC] -= slot.decoder_sessions
        self.nodes[slot.node.node_id, NVENC] -= slot.encoder_sessions
        if slot.shares_machine_cap:
            self.machines[slot.node.machine] -= slot.encoder_sessions
        slot.streams += 1

    def deal(self, slots: Sequence[Slot], videos: int) -> None:
        """Give every open slot one stream after the other, in rounds, until all videos have one or nothing is left."""
        moved = True
        while moved and sum(slot.streams for slot in slots) < videos:
            moved = False
            for slot in slots:
                if slot.streams < slot.most_streams and not self.missing(slot):
                    self.take(slot)
                    moved = True
