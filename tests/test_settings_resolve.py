"""Settings from four sources, and every fault as one line that names the key."""

from __future__ import annotations

import pickle
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as budget
from hypothesis import strategies as st

from dualface_ray.errors import SettingsError
from dualface_ray.settings import Settings, config_dir, resolve
from dualface_ray.settings.keys import leaf_keys, matches, suggestion
from dualface_ray.settings.load import full_key


def one_line(error: SettingsError) -> str:
    text = str(error)
    assert "\n" not in text
    assert len(text) < 400
    assert error.exit_code == 2
    return text


def refused(*args: object, **keywords: object) -> str:
    with pytest.raises(SettingsError) as caught:
        resolve(*args, **keywords)
    return one_line(caught.value)


@pytest.fixture
def written(tmp_path):
    def write(text: str | bytes) -> Path:
        path = tmp_path / "talk.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def test_defaults_are_the_models_own():
    assert resolve() == Settings()


def test_later_sources_win(written):
    file = written("framing:\n  layout: stacked\n  lookahead_s: 2\nencode:\n  quality: 18\n")
    assert resolve(file).framing.layout == "stacked"
    both = resolve(file, ["framing.layout=separate", "quality=25"], quality=30)
    assert (both.framing.layout, both.framing.lookahead_s, both.encode.quality) == ("separate", 2.0, 30)


def test_values_keep_the_type_of_the_setting(written):
    settings = resolve(
        written("identity: {reid: off}\ndetect: {every_frame: yes, grid_hz: 1e1}\nencode: {codec: av1, preset: 7}")
    )
    assert (settings.identity.reid, settings.detect.every_frame, settings.detect.grid_hz) == ("off", True, 10.0)
    assert settings.encode.preset == "7"
    assert resolve(mode="cfr", rate=25).timing.rate == "25"
    assert resolve(sets=["timing.mode=cfr", "rate=30000/1001"]).timing.rate == "30000/1001"
    assert resolve(model_path=Path("a") / "b.onnx").detect.model_path == "a/b.onnx"


def test_groups_as_keywords():
    assert resolve(framing={"layout": "stacked"}).framing.layout == "stacked"
    group = resolve(layout="stacked", lookahead_s=0.5).framing
    assert resolve(framing=group).framing == group
    assert resolve(**{"framing.layout": "separate"}).framing.layout == "separate"


def test_empty_documents_change_nothing(written):
    for text in ("", "# nothing\n", "framing:\n", "framing: {}\n", "---\n", "\ufefflane:\n"):
        assert resolve(written(text)) == Settings()


def test_settings_are_frozen_and_travel():
    settings = resolve(layout="stacked")
    with pytest.raises(ValueError, match="frozen"):
        settings.framing.layout = "separate"
    assert pickle.loads(pickle.dumps(settings)) == settings


@pytest.mark.parametrize(
    ("sets", "parts"),
    [
        (["layout=stackd"], ["framing.layout (--set)", "'stackd'", "side_by_side, stacked or separate"]),
        (["layuot=stacked"], ["layuot", "Did you mean framing.layout?"]),
        (["framing.loookahead_s=1"], ["Did you mean framing.lookahead_s (in seconds)?"]),
        (["lookahead_ms=800"], ["lookahead_ms", "Did you mean framing.lookahead_s (in seconds)?"]),
        (["pool_budget_gib=2"], ["Did you mean lane.pool_budget_bytes (in bytes)?"]),
        (["xyzzy=1"], ["unknown setting", "docs/settings.md"]),
        (["lookahead_s=800ms"], ["framing.lookahead_s", "'800ms' is not a number", "(seconds)"]),
        (["quality=20.5"], ["encode.quality", "not a whole number"]),
        (["quality=99"], ["encode.quality", "too large", "from 0 to 51"]),
        (["vram_share=0.8"], ["lane.vram_share", "too large", "up to 0.7"]),
        (["grid_hz=inf"], ["detect.grid_hz", "not a finite number"]),
        (["grid_hz=nan"], ["detect.grid_hz", "not a finite number"]),
        (["overwrite=maybe"], ["job.overwrite", "true or false"]),
        (["preset=fastest"], ["encode.preset", "'fastest'", "veryfast"]),
        (["input_width_px=650"], ["detect.input_width_px", "multiple of 32"]),
        (["width_px=10"], ["framing.width_px", "multiple of 4"]),
        (["width_px=64"], ["framing.width_px", "at least 128"]),
        (["quality"], ["--set 'quality'", "key=value"]),
        (["=3"], ["key=value"]),
        (["quality=3", "encode.quality=4"], ["encode.quality", "given twice"]),
        (["quality="], ["encode.quality", "''", "whole number"]),
        (["quality=99", "layout=x"], ["encode.quality", "framing.layout", "Also wrong"]),
        (["rate=25"], ["timing.rate", "timing.mode=cfr"]),
        (["mode=cfr", "rate=1/0"], ["timing.rate", "30000/1001"]),
        (["mode=cfr", "rate=-25"], ["timing.rate", "above 0"]),
        (["mode=cfr", "rate=1e99999"], ["timing.rate"]),
    ],
)
def test_wrong_values_name_key_value_and_remedy(sets, parts):
    text = refused(sets=sets)
    for part in parts:
        assert part in text


@pytest.mark.parametrize(
    ("sets", "parts"),
    [
        (["slots_per_stream=20"], ["lane.slots_per_stream", "176", "framing.lookahead_s=1.0", "at least 176"]),
        (["slots_per_stream=176", "lookahead_s=1.1"], ["lane.slots_per_stream", "176 is less than the 188"]),
        (["face_height_share=0.8"], ["framing.face_height_share", "at most 0.76"]),
        (["min_side_px=4000", "max_height_px=2160"], ["input.min_side_px", "no video would pass"]),
        (["codec=av1", "container=mov"], ["encode.container", "mp4 or mkv"]),
        (["preset=3"], ["encode.preset", "3 is on SVT-AV1's scale", "encode.codec is h264", "encode.codec=av1"]),
        (["preset=12", "codec=hevc"], ["encode.preset", "encode.codec is hevc"]),
        (["grid_hz=20"], ["detect.grid_hz", "identity.max_detect_hz=10", "at most 10"]),
        (["max_detect_hz=2"], ["detect.grid_hz", "3 is more than identity.max_detect_hz=2", "Use at most 2"]),
        (["segment_min_s=700"], ["job.segment_min_s", "job.segment_max_s=600"]),
        (["lane.encoder=nvenc", "backend=cpu"], ["lane.encoder", "lane.backend is cpu", "lane.encoder=auto"]),
    ],
)
def test_impossible_combinations_name_both_sides(sets, parts):
    text = refused(sets=sets)
    for part in parts:
        assert part in text


@pytest.mark.parametrize(
    "sets",
    [
        ["preset=12", "codec=av1"],
        ["preset=p4"],
        ["preset=placebo", "codec=av1"],
        ["grid_hz=10"],
        ["grid_hz=20", "max_detect_hz=20"],
        ["grid_hz=20", "every_frame=true"],
        ["segment_min_s=600"],
        ["lane.encoder=nvenc", "backend=cuda"],
    ],
)
def test_what_goes_together_resolves(sets):
    assert resolve(sets=sets)


def test_the_smallest_quota_that_resolves_covers_the_look_ahead():
    settings = resolve(sets=["slots_per_stream=176"])
    need = settings.lookahead_frames(Fraction(120)) + 3 * settings.lane.chunk_frames
    assert settings.quota_frames(Fraction(120)) == need + settings.lane.encoder_depth_frames == 176


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("framing:\n  layout: stacked\n  layout: separate\n", ["framing.layout", "line 2 and on line 3"]),
        ("framing: {layout: stacked}\nframing: {width_px: 4}\n", ["framing", "given twice"]),
        ("framing:\n  layout: [stacked\n", ["no valid YAML", "line 3"]),
        ("framing:\n\tlayout: stacked\n", ["no valid YAML", "line 2"]),
        ("framing: stacked\n", ["framing (talk.yaml line 1)", "a group of keys"]),
        ("layout: stacked\n", ["layout (talk.yaml line 1)", "framing.layout"]),
        ("framing:\n  layuot: stacked\n", ["framing.layuot (talk.yaml line 2)", "framing.layout"]),
        ("framing:\n  layout:\n", ["framing.layout (talk.yaml line 2)", "an empty value"]),
        ("framing:\n  layout:\n    x: 1\n", ["framing.layout (talk.yaml line 3)", "a group stands"]),
        ("framing:\n  layout: {}\n", ["framing.layout (talk.yaml line 2)", "a group stands"]),
        ("framing:\n  layout: [stacked]\n", ["framing.layout", "a list stands"]),
        ("- framing\n", ["no keys at the top"]),
        ("stacked\n", ["no keys at the top"]),
        ("framing: &a\n  layout: *a\n", ["nested too deeply"]),
        ("framing: {<<: {layout: stacked}}\n", ["unknown setting"]),
        ("? [a]\n: 1\n", ["a key must be a word"]),
        ("a: 1\n---\nb: 2\n", ["no valid YAML"]),
        ("framing: !!python/object/apply:os.getcwd []\n", ["a list stands"]),
        ("[" * 20000, ["nested too deeply"]),
        (b"\xff\xfe\x00", ["not UTF-8"]),
        (b"a: \x00", ["no valid YAML"]),
        (b"#" * (1 << 20) + b"\n", ["larger than 1 MiB"]),
    ],
)
def test_faulty_files_name_the_line(written, text, parts):
    line = refused(written(text))
    for part in parts:
        assert part in line


def test_files_that_cannot_be_read(tmp_path):
    assert "No such file" in refused(tmp_path / "none.yaml")
    assert "folder" in refused(tmp_path)


def test_wrong_keywords():
    assert "true or false" in refused(quality=True)
    assert "needs a mapping" in refused(framing="stacked")
    assert "framing.width_px" in refused(framing={"widht_px": 4})
    assert "given twice" in refused(layout="stacked", framing={"layout": "stacked"})


def test_a_shared_short_name_lists_its_candidates():
    keys = ["input.max_fps", "detect.width_px", "framing.width_px"]
    with pytest.raises(SettingsError, match=r"Write one of detect\.width_px, framing\.width_px\."):
        full_key("width_px", keys=lambda: keys)
    assert full_key("max_fps", keys=lambda: keys) == "input.max_fps"
    assert full_key("framing.width_px", keys=lambda: keys) == "framing.width_px"


def test_every_short_name_leads_to_its_key_or_to_all_candidates():
    keys = list(leaf_keys(Settings))
    assert len(keys) > 40
    for key in keys:
        short = key.rpartition(".")[2]
        assert key in matches(short, keys)
        assert matches(key, keys) == [key]
        assert suggestion(key + "x", keys) == key


def test_a_default_never_stands_for_the_origin_of_a_fault():
    assert "default.yaml" not in refused(sets=["lookahead_s=10"], slots_per_stream=100)


@budget(deadline=None)  # the machine may be busy; what is tested is the answer
@given(st.dictionaries(st.text(max_size=12), st.one_of(st.text(max_size=12), st.integers(), st.none()), max_size=3))
def test_any_keywords_give_settings_or_one_line(keywords):
    try:
        assert isinstance(resolve(**{k: v for k, v in keywords.items() if k not in ("file", "sets")}), Settings)
    except SettingsError as error:
        one_line(error)


@budget(deadline=None)  # the machine may be busy; what is tested is the answer
@given(st.text(max_size=80))
def test_any_file_gives_settings_or_one_line(tmp_path_factory, text):
    path = tmp_path_factory.mktemp("any") / "x.yaml"
    path.write_text(text, encoding="utf-8", errors="replace")
    try:
        assert isinstance(resolve(path), Settings)
    except SettingsError as error:
        one_line(error)


def test_configs_are_found_beside_the_package():
    assert (config_dir() / "default.yaml").is_file()
    assert (config_dir() / "models").is_dir()
