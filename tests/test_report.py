"""A report keeps what is known, whatever becomes of its parts; its figures are not judged here."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from bench import parse
from benchmark import exact, memory, parts, report, stt
from benchmark.report import Part, Section
from test_bench import BENCH, bench

ROW = "import json, os, sys, time; print(json.dumps({'row': %r}), flush=True)\n"
SAID = ROW % ["a", "1 | 2"]
HELD, BROKEN = ROW % ["x", "equal", "5 of 5", "ok"], ROW % ["y", "equal", "4 of 5", "**differs**"]


@pytest.fixture
def written(monkeypatch, tmp_path):
    """`written(sections, seconds)`: what a report of parts that are programs says, and its
    status."""
    monkeypatch.setattr(report, "command", lambda work, _: [sys.executable, "-c", work])

    def write(known, seconds=20.0):
        path = tmp_path / "mac.md"
        status = report.write(path, seconds, lambda text: None, known)
        assert list(tmp_path.iterdir()) == [path]
        return path.read_text(), status

    return write


def section(*programs, checks=False, title="Made up"):
    named = [Part(f"part {i}", program) for i, program in enumerate(programs)]
    return Section(title, "", ["check", "", "", ""] if checks else ["what", "value"], named, checks)


def test_what_fails_is_said_and_the_rest_goes_on(written):
    text, status = written([
        section(
            SAID + "raise ValueError('it broke')",
            SAID + "os.abort()",
            "import sys; sys.exit('no such model')",
            "print('noise'); print('3'); print('{')\n" + ROW % ["last", "here"],
            "import json; print(json.dumps({'skipped': 'needs 9 GB, 8 GB are free'}))",
        )
    ])  # fmt: skip
    assert status == 0
    assert text.count("| a | 1 \\| 2 |") == 2 and "| last | here |" in text
    assert "- part 0: failed: ValueError: it broke\n" in text
    assert "- part 1: failed: signal 6 (" in text
    assert "- part 2: failed: no such model\n" in text
    assert "- part 3" not in text
    assert "- part 4: skipped: needs 9 GB, 8 GB are free\n" in text
    assert "- Done: 1 of 5 parts.\n" in text


@pytest.mark.thorough
def test_what_takes_too_long_is_ended_and_what_it_said_kept(written, monkeypatch, tmp_path):
    monkeypatch.setattr(report, "_IN_ALL", 5)  # of which a part may take three
    mark = tmp_path.parent / "still there"
    child = f"if os.fork() == 0:\n    time.sleep(3.5); open({str(mark)!r}, 'w')\n"
    slow = "import time; time.sleep(60)"
    begun = time.monotonic()
    text, _ = written([section(SAID + child + slow, slow, SAID)], seconds=1.0)
    assert 5 <= time.monotonic() - begun < 20
    assert "| a | 1 \\| 2 |" in text and "- part 0: ended after 3 s\n" in text
    assert "- part 1: ended after 2 s\n" in text
    assert "- part 2: not begun: the time was over\n" in text
    assert not mark.exists()  # what it had started has ended, too


def test_checks_that_do_not_hold_come_first(written):
    text, status = written(
        [section(SAID), section(HELD + BROKEN, HELD, checks=True, title="Exact")]
    )
    assert status == 1
    assert "- Exactness: 2 of 3 checks hold.\n  - does not hold: y\n" in text
    assert text.index("does not hold") < text.index("## Made up") < text.index("## Exact")
    assert "| y | equal | 4 of 5 | **differs** |" in text


def test_an_error_does_not_name_who_runs_it(written):
    program = "import sys; from pathlib import Path; sys.exit(f'no {Path.home()}/model')"
    text, _ = written([section(program)])
    assert "failed: no ~/model" in text and str(Path.home()) + "/" not in text


INTERRUPTED = """
import sys
sys.path[:0] = sys.argv[1:3]
import bench
from benchmark import report
from test_report import SAID, section
report.command = lambda work, _: [sys.executable, "-c", work]
waiting = "import os, time; open(%r, 'w').write(str(os.getpid())); time.sleep(60)" % sys.argv[4]
report.sections = lambda: [section(SAID, SAID + waiting, SAID)]
sys.exit(bench.main(["--report", sys.argv[3]]))
"""


def test_ctrl_c_keeps_what_is_known(tmp_path):
    file, pid = tmp_path / "mac.md", tmp_path / "pid"
    arguments = BENCH.parent, Path(__file__).parent, file, pid
    command = [sys.executable, "-c", INTERRUPTED, *map(str, arguments)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        until = time.monotonic() + 60
        while not (pid.exists() and pid.read_text()) and time.monotonic() < until:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130 and "Traceback" not in errors
    text = file.read_text()
    assert text.count("| a | 1 \\| 2 |") == 2
    assert "part 1: ended: interrupted" in text and "part 2: not begun: interrupted" in text
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)


@pytest.mark.parametrize("file, message", [("no/mac.md", "there is no folder"), (".", "a folder")])
def test_a_file_that_cannot_be_is_said_first(tmp_path, file, message):
    done = bench("--report", tmp_path / file, status=1)
    assert message in done.stderr and len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["tiny"], "take no model"),
        (["--random", "stt-1b"], "take no model"),
        (["--memory"], "two runs"),
        (["--seconds", "nan"], "must be 1 to 86400"),
    ],
)
def test_what_a_report_does_not_go_with(arguments, message, tmp_path, capsys):
    with pytest.raises(SystemExit):
        parse(["--report", str(tmp_path / "mac.md"), *arguments])
    assert message in capsys.readouterr().err


def test_every_part_is_there():
    works = [part.work for known in report.sections() for part in known.parts]
    assert sorted(works) == sorted(parts.WORK)


# ---- the parts themselves


def test_a_real_part_in_a_process_of_its_own(tmp_path):
    known = [Section("Exact", "", ["", "", "", ""], [Part("speech", "speech")], True)]
    assert report.write(tmp_path / "mac.md", 60, lambda text: None, known) == 0
    text = (tmp_path / "mac.md").read_text()
    assert "- Exactness: 2 of 2 checks hold.\n- Done: 1 of 1 parts.\n" in text


@pytest.mark.thorough
def test_the_goldens_of_hearing():
    found = list(exact.goldens())
    assert len(found) == 12 and all(len(row) == 4 for row in found)
    assert [row for row in found if row[-1] != "ok"] == []
    assert any("4-bit" in row[0] for row in found) and any("bfloat16" in row[0] for row in found)


def test_what_is_not_equal():
    assert exact.equal("x", ["a", "b"], ["a", "b"]) == ("x", "all equal", "2 of 2 equal", "ok")
    *_, said, verdict = exact.equal("x", np.array([[1, 2], [3, 5]]), np.array([[1, 2], [3, 4]]))
    assert said == "3 of 4 equal, 4 there, the first other at 3" and verdict == "**differs**"
    *_, said, verdict = exact.equal("x", ["a"], ["a", "b"])
    assert said == "1 of 2 equal, 1 there, the first other at 1" and verdict == "**differs**"
    assert exact.near("x", [1.0, 2.0], [1.0, 2.1], 0.2)[-1] == "ok"
    assert exact.near("x", [1.0, 2.0], [1.0, 2.1], 0.05)[-1] == "**differs**"
    assert exact.near("x", [1.0, np.nan], [1.0, 2.0], 1)[-1] == "**differs**"


def test_frames_of_one_stream_and_of_many(small):
    subject = stt.Listener.load(small("stt-tiny"), None, None, None)
    one, many = parts.frames(subject, ["small", "hearing"], 2.0)
    heads = {len(known.head) for known in report.sections() if "tiny" in known.title}
    assert heads == {len(one)} and one[:3] == ["small", "hearing", "1"] and many[2] == "8"
    assert float(one[3]) <= float(one[4]) <= float(one[5]) and int(one[-1]) > 10


def test_more_streams_are_not_tried_where_one_is_slow(small, monkeypatch):
    subject = stt.Listener.load(small("stt-tiny"), None, None, None)
    monkeypatch.setattr(parts, "_TOO_SLOW", 0)
    rows = parts.frames(subject, ["small", "hearing"], 2.0)
    assert next(rows)[2] == "1"
    with pytest.raises(parts.Skipped, match="8 streams, since one takes 0 times real time"):
        next(rows)


def test_no_time_for_a_frame_is_said(small):
    subject = stt.Listener.load(small("stt-tiny"), None, None, None)
    with pytest.raises(ValueError, match=r"no frame in 1e-09 s: 0 of 3 to begin with"):
        next(parts.frames(subject, ["small", "hearing"], 1e-9, [1]))


def test_what_the_memory_cannot_hold_is_skipped(monkeypatch):
    needs = memory.needs("tts-1.6b", 4)["bfloat16"]
    one = needs.model + needs.voice + 2 * needs.stream + memory.KEPT_BY_MLX
    for free, rows in ((one, [1]), (one + 14 * needs.stream, [1, 8])):
        monkeypatch.setattr(parts, "free_memory", lambda free=free: free)
        assert parts.rows_in_memory("tts-1.6b", 4) == rows
    monkeypatch.setattr(parts, "free_memory", lambda: one - 1)
    with pytest.raises(parts.Skipped, match=r"needs 1\.9 GB, 1\.9 GB are free"):
        parts.rows_in_memory("tts-1.6b", 4)
