"""What a job says about its progress where there is no terminal."""

from __future__ import annotations

import time

import pytest

from bounds import progress
from bounds.progress import Stages


def test_a_long_stage_says_what_it_is_doing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "HEARTBEAT", 0.01)
    with Stages() as report:
        report("verifying", 3, 40)
        report.doing("verifying", "relaxing conv4")
        time.sleep(0.1)
        report("verifying", 40, 40)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "verifying: 3 of 40, relaxing conv4"
    assert lines[-1].startswith("verifying: ") and lines[-1].endswith(" s")


def test_a_quiet_job_and_one_without_news_say_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "HEARTBEAT", 0.01)
    with Stages(quiet=True) as report:
        report.doing("verifying", "relaxing conv4")
        time.sleep(0.05)
    with Stages():
        time.sleep(0.05)
    assert capsys.readouterr().err == ""
