"""Cast: who A and B are, told to sessions that see only a part of a video.

Without a cast a session gives the letters itself, the first face on the left being A. With one both persons are known
from the start, and a face gets a letter by evidence alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dualface_ray.errors import ProtocolError
from dualface_ray.frames import F32
from dualface_ray.identity.gallery import Person
from dualface_ray.identity.plain import decode, encode


@dataclass(frozen=True, slots=True, eq=False)
class Role:
    """One of the two, as a survey saw them."""

    name: str
    embeddings: tuple[F32, ...]
    """Unit vectors, the most typical first."""
    look: F32 | None
    """Mean descriptor, unit length; None = never seen alone."""
    first_s: float
    """When the survey saw them first."""
    sights: int
    """Surveyed frames they were seen in."""

    def person(self) -> Person:
        """The person as a session's gallery knows somebody it has not met yet."""
        person = Person(self.name, known=True, seen_s=float("inf"), last_shot=-1, unmet=True)
        person.embeddings = [embedding.copy() for embedding in self.embeddings]
        if self.look is not None:
            person.look, person.look_clear = self.look.copy(), True
        return person


@dataclass(frozen=True, slots=True, eq=False)
class Cast:
    """A and B."""

    a: Role
    b: Role
    strangers: bool = False
    """Whether others were seen, too."""

    def seen_before(self, begin_s: float) -> list[bool]:
        """Whether A and B had been seen before this second of the video."""
        return [role.first_s < begin_s for role in (self.a, self.b)]

    def as_dict(self) -> dict[str, Any]:
        """As JSON data; ``from_dict`` gives the same cast, bit for bit."""
        data: dict[str, Any] = encode(self)
        return data

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> Cast:
        """The cast that ``as_dict`` described.

        Raises:
            ProtocolError: the data is damaged.
        """
        try:
            cast = decode(dict(data), {"Cast": Cast, "Role": Role})
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ProtocolError("a cast is damaged", where="survey") from error
        if not isinstance(cast, Cast) or not isinstance(cast.a, Role) or not isinstance(cast.b, Role):
            raise ProtocolError("this is no cast", where="survey")
        return cast
