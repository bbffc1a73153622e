"""A folder that takes the place of another, whatever happens meanwhile."""

import errno
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import golden as fixtures
import pytest
from stopping import hidden, recover, state, write

from dsm_mlx.convert import exchange, folder, interrupts
from dsm_mlx.convert.folder import write_folder
from dsm_mlx.convert.interrupts import Interrupts

HERE = Path(__file__).parent
WAYS = ("exchange", "renames", "new")
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)
slow = pytest.mark.skipif("DSM_MLX_SLOW" not in os.environ, reason="takes minutes: DSM_MLX_SLOW=1")


def replace(path, text="new", check=lambda _: None):
    write_folder(path, lambda new: write(new, text), check)


def stopped(*args) -> list[dict]:
    """What `stopping.py` or `stopping_command.py` tells of each try."""
    done = subprocess.run(
        [sys.executable, *map(str, args)], cwd=HERE, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize(
    "every, tries", [("line", 20), pytest.param("opcode", 300, marks=slow)], ids=["line", "opcode"]
)
@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
@pytest.mark.parametrize("how", WAYS)
def test_stopped_at_any_instant(how, number, every, tries, tmp_path):
    found = stopped("stopping.py", how, int(number), tmp_path, every, tries, 1)
    assert len(found) > tries and {one["state"] for one in found} >= {"new"}
    before = "none" if how == "new" else "old"
    for one in found:
        check_told(one, before)
        gap = how == "renames" and number == signal.SIGKILL  # between the two renames, that is
        assert one["state"] in {before, "new"} | ({"none"} if gap else set()), one
        if number != signal.SIGKILL:
            assert not one["hidden"], one
            assert not one["parents"] or one["state"] == "new", one
        # The next run finds one of the two whole, and nothing beside it.
        assert one["recovered"] == (before if one["state"] == "none" else one["state"]), one
        assert not one["hidden after"], one
    if how == "renames" and number == signal.SIGKILL:
        assert any(one["state"] == "none" for one in found)


def check_told(one, before):
    told = one["told"]
    if told == "interrupted; nothing was written":
        assert one["state"] == before, one
    elif told in ("interrupted; DEST is written and complete", "done", "wrote DEST"):
        assert one["state"] == "new", one
    else:
        assert one.get("killed") or told in ("interrupted", "", "wrote DEST\ninterrupted"), one


@pytest.mark.thorough
@pytest.mark.skipif(sys.platform == "darwin", reason="Metal does not survive a fork")
@pytest.mark.parametrize("tries", [20, pytest.param(400, marks=slow)])
def test_the_command_stopped_at_random_moments(tries, tmp_path):
    source = fixtures.assemble("stt-q64", tmp_path / "source")
    for recipe in ("q8", "q4"):
        command = [sys.executable, "-m", "dsm_mlx.convert", source, tmp_path / recipe]
        subprocess.run([*command, "--recipe", recipe], check=True, capture_output=True)
    (tmp_path / "home").mkdir()
    dest = tmp_path / "home/dest"
    made = tmp_path / "q8", tmp_path / "q4"
    found = stopped("stopping_command.py", 1, tries, source, dest, *made)
    assert len(found) == tries
    for one in found:
        assert one["state"] in ("old", "new"), one
        check_told(one | {"killed": one["status"] < 0}, "old")
        assert one["status"] in (0, 130, -one_number(one)), one
        assert not one["hidden"] or one["signal"] == "SIGKILL", one
    recover(dest)
    assert {path.name for path in dest.parent.iterdir()} == {"dest", "said"}


def one_number(one) -> int:
    return signal.Signals[one["signal"]]


def test_a_name_that_appears_meanwhile_is_kept(tmp_path):
    path = tmp_path / "dest"

    def fill(new):
        write(new, "new")
        write(path, "somebody's")

    def check(_):
        raise FileExistsError("exists already")

    with pytest.raises(FileExistsError, match="exists already"):
        write_folder(path, fill, check)
    assert state(path) == "somebody's" and not hidden(tmp_path)


@pytest.mark.parametrize("able", [True, False])
def test_one_that_appears_in_the_last_instant_is_kept(able, tmp_path, monkeypatch):
    """After the last check, so that the rename itself must not replace it."""
    path, real = tmp_path / "dest", folder.move

    def late(source, target):
        write(target, "somebody's")
        real(source, target)

    monkeypatch.setattr(folder, "move", late)
    if not able:
        monkeypatch.setattr(exchange, "_rename", lambda *_: False)
    with pytest.raises(OSError, match=r"dest: cannot be written \(File exists\); nothing was"):
        replace(path)
    assert state(path) == "somebody's" and not hidden(tmp_path)


def test_what_comes_into_the_folder_meanwhile_is_seen(tmp_path):
    """The check is asked again before the old folder goes."""
    path = tmp_path / "dest"
    write(path, "old")

    def check(found):
        if (found / "letter.txt").exists():
            raise FileExistsError("holds a letter")

    def fill(new):
        write(new, "new")
        (path / "letter.txt").write_text("dear")

    with pytest.raises(FileExistsError, match="holds a letter"):
        write_folder(path, fill, check)
    assert (path / "letter.txt").read_text() == "dear" and not hidden(tmp_path)


def test_a_rename_that_fails_puts_the_old_folder_back(tmp_path, monkeypatch, caplog):
    path, real = tmp_path / "dest", folder.move
    write(path, "old")
    monkeypatch.setattr(folder, "exchange", lambda one, other: False)

    def fail(source, target):
        if source.name == "new":
            raise OSError(errno.EIO, "it broke", str(source))
        real(source, target)

    monkeypatch.setattr(folder, "move", fail)
    with pytest.raises(OSError, match=r"dest: cannot be written \(it broke\); nothing was written"):
        replace(path)
    assert state(path) == "old" and not hidden(tmp_path)
    assert "dest: put back as it was" in caplog.text


def test_an_old_folder_whose_name_is_taken_is_never_lost(tmp_path, caplog):
    """Killed between two renames, and then somebody made a folder of that name."""
    left = tmp_path / ".dsm-convert-abcdefgh"
    write(left / "old", "old")
    write(left / "new", "new")
    (left / "lock").write_text("dest")
    write(tmp_path / "dest", "somebody's")
    replace(tmp_path / "other")
    assert state(left / "old") == "old" and state(tmp_path / "dest") == "somebody's"
    assert f"{left / 'old'}: cannot be put back as {tmp_path / 'dest'}" in caplog.text
    (tmp_path / "dest").rename(tmp_path / "theirs")
    replace(tmp_path / "other")
    assert state(tmp_path / "dest") == "old" and not hidden(tmp_path)


def test_a_lock_with_another_place_in_it_moves_nothing_there(tmp_path, caplog):
    left = tmp_path / "here/.dsm-convert-abcdefgh"
    for name in ("../elsewhere", str(tmp_path / "elsewhere"), ""):
        write(left / "old", "old")
        write(left / "new", "new")
        (left / "lock").write_text(name)
        replace(tmp_path / "here/dest")
        assert state(left / "old") == "old" and not (tmp_path / "elsewhere").exists()


def test_what_lives_or_is_not_ours_is_not_cleared(tmp_path):
    for name in (".dsm-convert-", ".dsm-convert-mine", ".hidden"):
        write(tmp_path / name, "somebody's")  # without a lock
    target = tmp_path / "target"
    write(target / "new", "somebody's")
    (target / "lock").write_text("")
    (tmp_path / ".dsm-convert-link").symlink_to(target)
    started, go_on = threading.Event(), threading.Event()

    def fill(new):
        write(new, "one")
        started.set()
        assert go_on.wait(60)

    other = threading.Thread(target=write_folder, args=(tmp_path / "one", fill, lambda _: None))
    other.start()
    assert started.wait(60)
    replace(tmp_path / "two", "two")  # while the first one is at work
    go_on.set()
    other.join()
    assert state(tmp_path / "one") == "one" and state(tmp_path / "two") == "two"
    assert hidden(tmp_path) == 4 and state(target / "new") == "somebody's"


def test_a_file_system_without_locks(tmp_path, monkeypatch):
    """Then nobody can tell whose process lives, and nothing is cleared but one's own."""

    def no_locks(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(folder.fcntl, "flock", no_locks)
    left = tmp_path / ".dsm-convert-abcdefgh"
    write(left / "new", "half")
    (left / "lock").write_text("dest")
    replace(tmp_path / "dest")
    assert state(tmp_path / "dest") == "new" and hidden(tmp_path) == 1


@pytest.mark.parametrize("failure", [ValueError("no"), KeyboardInterrupt(), OSError("no")])
def test_a_failed_run_leaves_no_parents(failure, tmp_path):
    (tmp_path / "there").mkdir()

    def fail(new):
        write(new, "half")
        raise failure

    with pytest.raises(type(failure)):
        write_folder(tmp_path / "there/a/b/dest", fail, lambda _: None)
    assert [path.name for path in tmp_path.rglob("*")] == ["there"]


def test_parents_that_somebody_else_uses_stay(tmp_path):
    def fail(_):
        (tmp_path / "a/letter.txt").write_text("dear")
        raise ValueError("no")

    with pytest.raises(ValueError):
        write_folder(tmp_path / "a/b/dest", fail, lambda _: None)
    assert [path.name for path in tmp_path.rglob("*")] == ["a", "letter.txt"]


@pytest.mark.parametrize("name", ["x" * 300, "a/" + "x" * 300 + "/b", "file/dest"])
def test_what_can_be_no_folder_is_said_before_the_work(name, tmp_path):
    (tmp_path / "file").write_text("")

    def never(_):
        raise AssertionError("it was begun")

    with pytest.raises(OSError, match=r"dest|xxx"):
        write_folder(tmp_path / name, never, lambda _: None)
    assert [path.name for path in tmp_path.rglob("*")] == ["file"]


def test_names_as_long_as_they_may_be(tmp_path):
    path = tmp_path / ("é" * 127)
    replace(path)
    replace(path, "newer")
    assert state(path) == "newer" and not hidden(tmp_path)


def test_a_link_stays_and_what_it_leads_to_is_replaced(tmp_path):
    write(tmp_path / "disk/real", "old")
    (tmp_path / "dest").symlink_to(tmp_path / "disk/real")
    replace(tmp_path / "dest")
    assert (tmp_path / "dest").is_symlink() and state(tmp_path / "disk/real") == "new"
    assert not hidden(tmp_path) and not hidden(tmp_path / "disk")


def test_the_current_folder_by_its_dot(tmp_path, monkeypatch):
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    replace(Path("."))
    assert state(tmp_path / "empty") == "new"


def test_modes_are_those_of_any_new_folder(tmp_path):
    replace(tmp_path / "dest")
    (tmp_path / "usual").mkdir()
    assert (tmp_path / "dest").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_in_another_thread_signals_are_left_alone(tmp_path):
    handlers = [signal.getsignal(number) for number in SIGNALS]
    thread = threading.Thread(target=replace, args=(tmp_path / "dest",))
    thread.start()
    thread.join()
    assert state(tmp_path / "dest") == "new"
    assert [signal.getsignal(number) for number in SIGNALS] == handlers


def test_ignored_signals_stay_ignored(tmp_path):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        write_folder(
            tmp_path / "dest",
            lambda new: (os.kill(os.getpid(), signal.SIGHUP), write(new, "new")),
            lambda _: None,
        )
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
    assert state(tmp_path / "dest") == "new"


def interrupt():
    os.kill(os.getpid(), signal.SIGINT)


def test_an_interrupt_that_a_finaliser_swallows_counts(tmp_path):
    class Swallows:
        def __del__(self):
            interrupt()

    def fill(new):
        write(new, "new")
        Swallows()

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt, match="nothing"):
        patch.setattr(sys, "unraisablehook", lambda _: None)
        write_folder(tmp_path / "dest", fill, lambda _: None)
    assert not list(tmp_path.iterdir())


def test_an_interrupt_of_which_an_import_makes_another_error(tmp_path):
    def fill(new):
        write(new, "half")
        try:
            interrupt()
        except KeyboardInterrupt:
            raise ImportError("initialization failed") from None

    with pytest.raises(KeyboardInterrupt, match="nothing was written"):
        write_folder(tmp_path / "dest", fill, lambda _: None)
    assert not list(tmp_path.iterdir())


def test_a_second_interrupt_does_not_break_what_the_first_unwinds(tmp_path, monkeypatch):
    unwound = []

    def fill(_):
        try:
            interrupt()
        finally:
            interrupt()
            unwound.append(True)

    with pytest.raises(KeyboardInterrupt):
        write_folder(tmp_path / "dest", fill, lambda _: None)
    assert unwound and not list(tmp_path.iterdir())
    # But where the first got lost, a later one counts.
    monkeypatch.setattr(interrupts, "_AGAIN", -1)
    with pytest.raises(KeyboardInterrupt):
        write_folder(tmp_path / "dest", fill, lambda _: None)
    assert len(unwound) == 1


def test_more_interrupts_do_not_break_the_cleaning(tmp_path, monkeypatch):
    real = folder.shutil.rmtree

    def rmtree(path):
        for _ in range(3):
            interrupt()
        real(path)

    monkeypatch.setattr(folder.shutil, "rmtree", rmtree)

    def fill(new):
        write(new, "half")
        interrupt()

    with pytest.raises(KeyboardInterrupt, match="nothing was written"):
        write_folder(tmp_path / "dest", fill, lambda _: None)
    assert not list(tmp_path.iterdir())


def test_handlers_are_as_before():
    known = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with Interrupts() as block:
        interrupt()
        assert block.waiting
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == known


@pytest.mark.skipif(sys.platform not in ("linux", "darwin"), reason="knows no exchange")
def test_the_system_exchanges(tmp_path):
    for name in ("one", "other"):
        write(tmp_path / name, name)
    if not exchange.exchange(tmp_path / "one", tmp_path / "other"):
        pytest.skip("this file system knows no exchange")
    assert state(tmp_path / "one") == "other" and state(tmp_path / "other") == "one"
    with pytest.raises(FileExistsError):
        exchange.move(tmp_path / "one", tmp_path / "other")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileExistsError):
        exchange.move(tmp_path / "one", tmp_path / "empty")
    with pytest.raises(FileNotFoundError):
        exchange.exchange(tmp_path / "one", tmp_path / "missing")


class Library:
    """Stands for a C library."""

    def __init__(self, *known: str, fails: int = 0):
        self.calls, self._known, self._fails = [], known, fails

    def __getattr__(self, name):
        if name not in self._known:
            raise AttributeError(name)

        def call(*args):
            self.calls.append((name, *args))
            exchange.ctypes.set_errno(self._fails)
            return -1 if self._fails else 0

        return call


@pytest.mark.parametrize(
    "system, expected",
    [
        (
            "linux",
            [("renameat2", -100, b"a", -100, b"b", 2), ("renameat2", -100, b"a", -100, b"b", 1)],
        ),
        ("darwin", [("renamex_np", b"a", b"b", 2), ("renamex_np", b"a", b"b", 4)]),
    ],
)
def test_each_system_is_asked_in_its_words(system, expected, monkeypatch):
    library = Library("renameat2", "renamex_np")
    monkeypatch.setattr(exchange.ctypes, "CDLL", lambda *_, **__: library)
    monkeypatch.setattr(exchange.sys, "platform", system)
    assert exchange.exchange(Path("a"), Path("b"))
    exchange.move(Path("a"), Path("b"))
    assert library.calls == expected


@pytest.mark.parametrize(
    "library",
    [Library(), *(Library("renameat2", "renamex_np", fails=n) for n in exchange._CANNOT)],
)
def test_a_system_that_cannot_exchange(library, tmp_path, monkeypatch):
    monkeypatch.setattr(exchange.ctypes, "CDLL", lambda *_, **__: library)
    write(tmp_path / "dest", "old")
    assert not exchange.exchange(tmp_path / "dest", tmp_path / "other")
    replace(tmp_path / "dest")
    replace(tmp_path / "other", "other")
    assert state(tmp_path / "dest") == "new" and state(tmp_path / "other") == "other"
    with pytest.raises(FileExistsError):
        exchange.move(tmp_path / "dest", tmp_path / "other")
