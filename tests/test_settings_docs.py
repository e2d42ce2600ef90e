"""default.yaml and the settings page say what the models say."""

from __future__ import annotations

from pathlib import Path

import yaml

from dualface_ray.settings import Settings
from dualface_ray.settings.describe import default_yaml, field_texts, settings_page, write
from dualface_ray.settings.keys import UNITS, group_of, leaf_keys, unit_of

ROOT = Path(__file__).resolve().parent.parent


def test_both_files_are_what_the_models_write(tmp_path):
    for path in write(tmp_path):
        committed = ROOT / path.relative_to(tmp_path)
        assert committed.read_text(encoding="utf-8") == path.read_text(encoding="utf-8"), (
            f"run `make docs`: {path.name}"
        )


def test_default_yaml_read_by_any_yaml_reader_equals_the_models():
    assert yaml.safe_load(default_yaml()) == Settings().model_dump()


def test_every_setting_is_explained():
    page = settings_page()
    for name, field in Settings.model_fields.items():
        texts = field_texts(group_of(field))
        for key in group_of(field).model_fields:
            assert len(texts.get(key, "")) > 10, f"{name}.{key} has no text below it"
            assert f"`{name}.{key}`" in page


def test_numbers_state_their_unit():
    """A float is a length, a time, a rate or a share, or it is a pure number: its name says which."""
    pure = {"score", "distance", "scale", "margin", "range", "upscale", "loss"}
    for key, field in leaf_keys(Settings).items():
        if field.annotation is float and key.rpartition("_")[2] not in pure:
            assert unit_of(key), f"{key} ends in no unit of {sorted(UNITS)} and is no {sorted(pure)}"
