"""`dsm-captions` as a person uses it: a window, a microphone, a keyboard; and what it refuses."""

import os
import shlex
import shutil
import signal
import subprocess
import sys

import desktop
import pytest
from commands import BUFFERED, CAPTIONS, ended, run, start, wait_for

import dsm_mlx
from dsm_mlx.cli import captioning, captions_args
from dsm_mlx.desktop.looks import LOOKS

WORDS = {"bus", "late", "because", "road", "full", "snow"}
BUS = "demos/audio/bus.wav"
WITHOUT_TK = """
import sys
sys.modules["tkinter"] = None
from dsm_mlx.cli.captions import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture
def root(screen):
    """A window of the test's own."""
    import tkinter

    root = tkinter.Tk()
    root.title("Another")
    root.geometry("300x100")
    root.update()
    yield root
    root.destroy()


@pytest.fixture
def opened(screen):
    """`opened(*args)`: the process, and the number of its window."""
    processes = []

    def open_window(*args):
        processes.append(start(CAPTIONS, *args))
        return processes[-1], desktop.window_called("Captions")

    yield open_window
    for process in processes:
        process.kill()
        process.communicate()


def close(window):
    """As the window manager does it."""
    desktop.press(window, "alt+F4")


def clipboard(root):
    import tkinter

    try:
        root.update()
        return root.clipboard_get()
    except tkinter.TclError:
        return ""


@pytest.mark.thorough
def test_what_is_said_is_seen_copied_and_the_window_closed(
    virtual_microphone, opened, root, tmp_path
):
    process, window = opened("--model", "tiny", "--contrast", "light")
    path = tmp_path / "captions.png"
    accent = LOOKS["light"].accent

    def heard():
        subprocess.run(["paplay", BUS], check=True, timeout=60)
        desktop.press(window, "ctrl+c")
        return len(WORDS & set(clipboard(root).split())) >= 5

    wait_for(heard)
    found = desktop.colours(window, path, root)
    assert max(found, key=found.get) == LOOKS["light"].paper
    assert found[LOOKS["light"].ink] > 500 and found[accent] > 500
    close(window)
    status, out, err = ended(process)
    assert (status, out) == (0, "") and "Traceback" not in err


def test_it_stays_on_top_until_it_is_told_not_to(opened, root):
    process, window = opened("--model", "tiny", "--wait")
    other = desktop.window_called("Another", root)

    def raised(over):
        root.lift()
        root.update()
        return desktop.topmost() == over

    wait_for(lambda: raised(window))
    desktop.press(window, "ctrl+t")
    wait_for(lambda: raised(other))
    close(window)
    assert ended(process)[0] == 0


def test_a_signal_ends_it(opened):
    process, _ = opened("--model", "tiny", "--wait")
    process.send_signal(signal.SIGINT)
    assert ended(process)[:2] == (130, "")


@pytest.mark.thorough
def test_words_of_a_server(virtual_microphone, opened, root, tmp_path):
    from serving import Served

    with Served("-m", "dsm_mlx.serve", "--stt", "tiny", "--tts", "none", "--port", "0") as served:
        process, window = opened("--server", f"http://127.0.0.1:{served.port}")

        def heard():
            subprocess.run(["paplay", BUS], check=True, timeout=60)
            desktop.press(window, "ctrl+c")
            return len(WORDS & set(clipboard(root).split())) >= 5

        wait_for(heard)
        close(window)
        assert ended(process)[0] == 0


# ---- without a window


def test_help_and_version():
    assert run(CAPTIONS, "--version") == (
        0,
        f"python -m dsm_mlx.desktop {dsm_mlx.__version__}\n",
        "",
    )
    status, out, err = run(CAPTIONS, "--help")
    assert (status, err) == (0, "") and len(out.partition("examples:\n")[2].splitlines()) >= 4


def test_examples_can_be_parsed():
    for line in captions_args.EXAMPLES.splitlines():
        assert captions_args.parse(shlex.split(line)[1:])


@pytest.mark.parametrize(
    "args, told",
    [
        (["--text-size", "3"], "--text-size 3 (expected 10 to 72)"),
        (["--contrast", "pink"], "invalid choice: 'pink'"),
        (["--server", "h:1", "--delay", "1"], "--delay concerns a model on this machine"),
        (["--api-key", "k"], "it needs --server"),
        (["talk.mp3"], "unrecognized arguments: talk.mp3"),
    ],
)
def test_usage(args, told, capsys):
    with pytest.raises(SystemExit) as ended:
        captions_args.parse(args)
    assert ended.value.code == 2 and told in capsys.readouterr().err


def test_a_python_without_tk_is_told_which_package_it_lacks():
    command = [sys.executable, "-c", WITHOUT_TK, "--model", "tiny"]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | BUFFERED)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"error: {captioning.NO_TK}\n"
    assert "python3-tk" in done.stderr and "python-tk" in done.stderr


@pytest.mark.parametrize(
    "args, told",
    [
        ([], "error: no window can be opened: no display"),
        (["--model", "no-such"], "error: "),
        (["--menu-bar"], "error: --menu-bar needs macOS and the package rumps"),
    ],
)
def test_what_is_missing_is_told_in_one_line(args, told, tmp_path):
    pytest.importorskip("tkinter")
    if sys.platform == "darwin":
        pytest.skip("a Mac has a screen")
    environment = {k: v for k, v in os.environ.items() if k != "DISPLAY"} | {"HF_HUB_OFFLINE": "1"}
    environment["HF_HOME"] = str(tmp_path)
    args = args if "--model" in args else ["--model", "tiny", *args]
    status, out, err = run(CAPTIONS, *args, env=environment)
    assert (status, out, len(err.splitlines())) == (1, "", 1) and err.startswith(told)


def test_the_window_of_the_menu_bar_is_opened_as_the_command_was_called(monkeypatch):
    started = []
    monkeypatch.setattr(
        subprocess, "Popen", lambda *args, **options: started.append((args, options))
    )
    args = captions_args.parse(
        shlex.split("--menu-bar --model a --delay 0.5 --device USB --text-size 35 --not-on-top")
    )
    captioning._start_window(args)
    server = "--menu-bar --server unix:/s --api-key secret --contrast high"
    captioning._start_window(captions_args.parse(shlex.split(server)))
    (one, _), (other, options) = started
    again = [captions_args.parse(command[0][3:]) for command in (one, other)]
    assert vars(again[0]) == vars(args) | {"menu_bar": False}
    assert (again[1].server.unix, again[1].contrast, again[1].model) == ("/s", "high", None)
    assert options["env"]["DSM_MLX_API_KEY"] == "secret" and "secret" not in str(other)


def test_the_script_is_installed():
    script = shutil.which("dsm-captions", path=os.path.dirname(sys.executable))
    if not script:
        pytest.skip("installed before there was one")
    assert run([script], "--version")[0] == 0
