"""A job in a notebook: a table that is well formed whatever the names are."""

from __future__ import annotations

from xml.etree import ElementTree

from dualface_ray.report import JobSnapshot, VideoState
from tests.cli_jobs import story, video

HOSTILE = "in/<script>alert(1)</script>\x1b[31m\u202egnp.'\"&\ntwo.mp4"


def rows(snapshot: JobSnapshot) -> list[list[str]]:
    tree = ElementTree.fromstring(snapshot._repr_html_())  # it is XML, too: nothing unclosed, nothing unescaped
    return [["".join(cell.itertext()) for cell in row] for row in tree.iter("tr")][1:]


def test_running_videos_stand_first_then_what_failed():
    snapshot = JobSnapshot(
        (
            video(0, VideoState.DONE, frames_done=9, frames_total=9, outputs=("out/a.A.mp4", "out/a.B.mp4")),
            video(1, VideoState.FAILED, error="in/talk1.mp4: no video stream in this file. Name a video file."),
            video(2, VideoState.RUNNING, frames_done=3, frames_total=9, fps=24.0),
            video(3, VideoState.WAITING, frames_total=9),
        ),
        lanes=("lane 0: cpu",),
    )
    table = rows(snapshot)
    assert [row[0] for row in table] == ["in/talk2.mp4", "in/talk1.mp4", "in/talk0.mp4", "in/talk3.mp4"]
    assert table[0][1:] == ["running", "3/9", " 24.0 fps", ""]
    assert table[1][4].startswith("in/talk1.mp4: no video stream")
    assert table[2] == ["in/talk0.mp4", "done", "9", "", "out/a.A.mp4out/a.B.mp4"]
    assert table[3] == ["in/talk3.mp4", "waiting", "0/9", "", ""]
    html = snapshot._repr_html_()
    assert "max='9' value='3'" in html
    assert "1 waiting, 1 running, 1 done, 1 failed" in html
    assert "lane 0: cpu" in html


def test_every_moment_of_a_job_can_be_shown():
    for snapshot in (*story(3, fail=1), JobSnapshot(())):
        assert len(rows(snapshot)) == len(snapshot.videos)
    assert "nothing to do" in JobSnapshot(())._repr_html_()


def test_a_job_of_thousands_stays_a_table_that_a_notebook_can_keep():
    many = JobSnapshot(tuple(video(i, VideoState.WAITING) for i in range(10_000)))
    assert len(rows(many)) == 50
    assert "and 9950 more" in many._repr_html_()
    assert len(many._repr_html_()) < 50_000


def test_names_are_neither_markup_nor_control_characters():
    snapshot = JobSnapshot(
        (video(source=HOSTILE, state=VideoState.FAILED, error=HOSTILE),), lanes=(HOSTILE,), notes=(HOSTILE,)
    )
    assert rows(snapshot)[0][0].startswith("in/<script>alert(1)</script>\N{REPLACEMENT CHARACTER}[31m")
    html = snapshot._repr_html_()
    assert "<script" not in html
    assert not {"\x1b", "\u202e", "\n"} & set(html)
