"""The lane's watch: one stream that stands still is found among others that go on, and nobody who only waits is."""

from __future__ import annotations

from pathlib import Path

import pytest

from actors.messages import ActorStatus, StreamKey, StreamStatus
from actors.recovery import AttemptBook
from actors.watch import LONGEST_TURN_S, PATIENCE, Stall, Watch
from dualface_ray.errors import ActorError, ModelError
from dualface_ray.report import VideoState
from dualface_ray.settings import resolve

WATCHDOG_S = 60.0
BUILD_S = 900.0


class Rig:
    """A lane whose decoder and encoder say of each stream what they are told to say, second by second."""

    def __init__(self, streams: int = 3) -> None:
        self.watch = Watch(WATCHDOG_S, BUILD_S)
        self.keys: list[StreamKey] = [(f"v{number}", 0) for number in range(streams)]
        self.now_s = 1000.0
        self.steps = dict.fromkeys(self.keys, 0)
        self.every_s = dict.fromkeys(self.keys, 1.0)
        """Seconds between two steps; 0 = it hangs."""
        self.states = dict.fromkeys(self.keys, VideoState.RUNNING)
        self.building = ""
        self.silent = False
        self.watch.look(self.now_s)
        for key in self.keys:
            self.watch.given(key)

    def hang(self, *numbers: int) -> None:
        for number in numbers:
            self.every_s[self.keys[number]] = 0

    def end(self, number: int) -> None:
        key = self.keys.pop(number)
        self.watch.gone(key)

    def turn(self, length_s: float = 1.0) -> Stall | None:
        self.now_s += length_s
        self.watch.look(self.now_s)
        for key in self.keys:
            if self.every_s[key] and self.now_s % self.every_s[key] < length_s:
                self.steps[key] += 1
        if not self.silent:
            statuses = [StreamStatus(*key, self.states[key], 0, 0) for key in self.keys]
            self.watch.heard("decoder-0", ActorStatus(dict.fromkeys(self.keys, 7)))
            self.watch.heard("inference", ActorStatus(building=self.building))
            marks = {key: self.steps[key] for key in self.keys}
            self.watch.heard("encoder-0", ActorStatus(marks, streams=tuple(statuses)))
        return self.watch.stall()

    def seconds(self, count: int) -> tuple[Stall | None, int]:
        """What was found, and after how many seconds."""
        for second in range(1, count + 1):
            stall = self.turn()
            if stall is not None:
                return stall, second
        return None, count


def test_one_that_hangs_is_found_while_the_others_go_on() -> None:
    rig = Rig(3)
    assert rig.seconds(1000)[0] is None
    rig.hang(1)
    stall, after_s = rig.seconds(1000)
    assert stall is not None
    assert stall.keys == {("v1", 0)}
    assert 3 * WATCHDOG_S < after_s < 3 * WATCHDOG_S + 3, "of its share of the time"
    assert stall.for_s == pytest.approx(after_s, abs=2)


def test_one_among_very_many_is_found_in_time() -> None:
    rig = Rig(64)
    rig.hang(5)
    stall, after_s = rig.seconds(2000)
    assert stall is not None
    assert stall.keys == {("v5", 0)}
    assert after_s <= PATIENCE * WATCHDOG_S + 2


def test_alone_it_is_found_after_the_time_that_was_set() -> None:
    rig = Rig(1)
    rig.hang(0)
    stall, after_s = rig.seconds(100)
    assert stall is not None
    assert stall.keys == {("v0", 0)}
    assert WATCHDOG_S < after_s < WATCHDOG_S + 3


def test_when_nothing_moves_at_all_nobody_is_blamed() -> None:
    rig = Rig(16)
    rig.hang(*range(16))
    stall, after_s = rig.seconds(100)
    assert stall is not None
    assert stall.keys == frozenset()
    assert WATCHDOG_S < after_s < WATCHDOG_S + 3


def test_a_crowd_on_few_cores_is_slow_and_no_hang() -> None:
    """Sixteen share a core: steps of 50 s alone take each of them a quarter of an hour."""
    rig = Rig(16)
    for number, key in enumerate(rig.keys):
        rig.every_s[key] = 780.0 + number
    for key in rig.keys[8:]:
        rig.every_s[key] = 20.0
    assert rig.seconds(5000)[0] is None


def test_who_was_slow_in_a_crowd_is_not_ended_when_the_crowd_goes() -> None:
    rig = Rig(16)
    rig.hang(0)
    assert rig.seconds(700)[0] is None
    for _ in range(15):
        rig.end(1)
    assert rig.turn() is None, "it is alone from now on, but was not until now"
    rig.every_s[rig.keys[0]] = 10.0
    assert rig.seconds(500)[0] is None


def test_all_actors_of_a_stream_count() -> None:
    """The encoder works on one picture for long; the decoder goes on meanwhile."""
    rig = Rig(2)
    rig.hang(0, 1)
    for second in range(1000):
        rig.watch.heard("decoder-0", ActorStatus(dict.fromkeys(rig.keys, second // 50)))
        rig.watch.look(1000.0 + second)
        assert rig.watch.stall() is None


def test_an_engine_may_be_built_as_long_as_a_start_may_take() -> None:
    rig = Rig(2)
    rig.hang(0, 1)
    assert rig.seconds(30)[0] is None
    rig.building = "building the detector engine"
    assert rig.seconds(int(BUILD_S) - 10)[0] is None
    assert rig.watch.building == "building the detector engine"
    rig.building = ""
    assert rig.seconds(20)[0] is None, "the time before it and the time after it"
    assert rig.watch.building == ""
    rig.building = "building another one"
    stall, after_s = rig.seconds(2000)
    assert stall is not None, "this one hangs"
    assert BUILD_S < after_s < BUILD_S + WATCHDOG_S


def test_what_an_encoder_has_held_back_may_take_its_time() -> None:
    rig = Rig(1)
    rig.hang(0)
    rig.states[("v0", 0)] = VideoState.FINISHING
    assert rig.seconds(int(PATIENCE * WATCHDOG_S) - 10)[0] is None
    stall, _ = rig.seconds(20)
    assert stall is not None
    assert stall.keys == {("v0", 0)}


def test_who_finishes_among_others_has_that_time_too() -> None:
    rig = Rig(2)
    rig.hang(0)
    rig.states[("v0", 0)] = VideoState.FINISHING
    assert rig.seconds(int(PATIENCE * WATCHDOG_S) - 10)[0] is None
    stall, _ = rig.seconds(20)
    assert stall is not None
    assert stall.keys == {("v0", 0)}


def test_a_stream_whose_end_is_not_yet_noted_hangs_nobody() -> None:
    rig = Rig(1)
    rig.hang(0)
    rig.states[("v0", 0)] = VideoState.DONE
    assert rig.seconds(2000)[0] is None


def test_a_paused_machine_kills_nothing() -> None:
    rig = Rig(3)
    rig.hang(1)
    assert rig.seconds(100)[0] is None
    assert rig.turn(8 * 3600) is None, "nobody watched, and nobody could have moved"
    rig.every_s[rig.keys[1]] = 1.0
    assert rig.seconds(300)[0] is None
    assert LONGEST_TURN_S < WATCHDOG_S


def test_a_driver_that_is_rarely_at_home_still_finds_a_hang() -> None:
    rig = Rig(1)
    rig.hang(0)
    found = [rig.turn(5.0) for _ in range(60)]
    assert found[0] is None
    assert found[-1] is not None


def test_actors_that_do_not_answer_stand_still() -> None:
    rig = Rig(2)
    assert rig.seconds(10)[0] is None
    rig.silent = True
    stall, after_s = rig.seconds(100)
    assert stall is not None
    assert after_s < WATCHDOG_S + 3


def test_a_lane_that_was_idle_begins_at_nought() -> None:
    rig = Rig(1)
    rig.hang(0)
    rig.end(0)
    assert rig.seconds(500)[0] is None
    rig.keys.append(("v9", 0))
    rig.states["v9", 0], rig.steps["v9", 0], rig.every_s["v9", 0] = VideoState.RUNNING, 0, 0.0
    rig.watch.given(("v9", 0))
    assert rig.seconds(int(WATCHDOG_S))[0] is None
    assert rig.seconds(3)[0] is not None


def test_a_death_is_held_against_who_stood_still() -> None:
    book, cause = AttemptBook(2), ActorError("no progress with v1.mp4 for 961 s", where="lane-0")
    verdicts: list[ActorError | None] = []
    for _ in range(2):
        for name in ("v0", "v1", "v2"):
            book.begin(name)
        verdicts = [book.verdict(name, name, cause, guilty=name == "v1") for name in ("v0", "v1", "v2")]
    assert [verdict is not None for verdict in verdicts] == [False, True, False]
    assert "no progress with v1.mp4" in str(verdicts[1])
    assert book.begin("v0") == 2, "an attempt keeps its number whoever was to blame"
    assert book.verdict("v0", "v0", cause) is None
    book.begin("v0")
    assert book.verdict("v0", "v0", cause) is not None, "nobody in particular: it counts as before"


def test_an_engine_that_is_built_in_mid_run_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first portrait video of a card's lane: its engine takes minutes, in the middle of a batch."""
    from actors.examiner import Examiner
    from dualface_ray.backends import load_backend
    from dualface_ray.backends.cuda import detector as room

    card = object.__new__(room.CudaDetector)
    seen: list[str] = []

    def built(settings: object, profile: object, progress: room.Progress) -> Path:
        progress("building the detector engine")
        seen.append(examiner.building)
        if len(seen) > 1:
            raise ModelError("no")
        return Path("x.engine")

    def loaded(settings: object, threads: int, progress: room.Progress) -> room.CudaDetector:
        card._engines, card._paths, card._max_batch = {}, {}, 8
        card._stream, card._all_settings, card._progress = None, resolve(), progress
        progress("built the usual one")
        return card

    backend = load_backend("cpu")
    monkeypatch.setattr(type(backend), "load_detector", staticmethod(loaded))
    monkeypatch.setattr(room, "detector_engine", built)
    monkeypatch.setattr(room, "Engine", lambda *given: None)
    monkeypatch.setattr(room, "Network", lambda engine: "network")
    monkeypatch.setattr(room.CudaDetector, "begin", lambda self, batch: self._network((64, len(seen))))
    examiner = Examiner(backend, resolve(), threads=1)
    assert examiner.building == "", "that was before anything ran"
    examiner.examine([])
    assert (seen, examiner.building) == (["building the detector engine"], "")
    with pytest.raises(ModelError):
        examiner.examine([])
    assert examiner.building == ""
