"""The captions window on a screen that nobody sees: what it shows of what it is told."""

import re

import desktop
import pytest
from commands import wait_for

from dsm_mlx import AudioError, EndOfTurn, Partial, Word
from dsm_mlx.audio.events import DeviceEvent
from dsm_mlx.desktop.listening import Choice, Listening, Loading, Stopped, Waiting
from dsm_mlx.desktop.looks import LOOKS, SIZE, SIZES, larger

HINT = "What is said appears here.\n"


@pytest.fixture
def shown(screen):
    yield from desktop.windows()


def text(window):
    return window.paper.text.get("1.0", "end").replace("\N{NO-BREAK SPACE}", " ")


def tagged(window, tag):
    """What is drawn in a tag's way."""
    ranges = window.paper.text.tag_ranges(tag)
    return [window.paper.text.get(*pair) for pair in zip(ranges[::2], ranges[1::2], strict=True)]


def state(window):
    return window.bar.state.cget("text")


def test_settled_words_and_the_one_in_progress_are_told_apart(shown):
    s = shown()
    assert text(s.window) == HINT
    s.tell(Listening("Desk", 0.0), Word("the", 65.0, 65.2), Word("bus", 65.5, 66.0))
    s.tell(Partial("wa", 66.2))
    assert text(s.window) == "1:05\tthe bus wa …\n"
    assert (tagged(s.window, "said"), tagged(s.window, "going")) == (["the bus"], [" wa …"])
    colours = {
        tag: str(s.window.paper.text.tag_cget(tag, "foreground")) for tag in ("said", "going")
    }
    assert colours == {"said": LOOKS["dark"].ink, "going": LOOKS["dark"].soft}
    slant = s.window.root.tk.call("font", "actual", s.window.paper.text.tag_cget("going", "font"))
    assert "italic" in slant
    s.tell(Word("was", 66.2, 66.4), Partial("", 66.4))
    assert text(s.window) == "1:05\tthe bus was\n"


def test_pauses_are_marked(shown):
    s = shown()
    s.tell(Listening("Desk", 0.0), Partial("th", 0.2))
    assert text(s.window) == "\tth …\n"
    s.tell(Partial("", 0.3))  # it came to nothing
    assert text(s.window) == "\n"
    s.tell(Word("the", 0.0, 0.4), EndOfTurn(2.5))
    assert text(s.window) == "0:00\tthe  — pause\n"
    s.tell(Partial("bu", 4.0))
    assert text(s.window) == "0:00\tthe  — pause\n\tbu …\n"
    s.tell(Word("bus", 4.0, 4.4), Word("was", 5.0, 5.4))
    assert text(s.window) == "0:00\tthe  — pause, 3.6 s\n0:04\tbus was\n"
    (mark,) = tagged(s.window, "pause")
    assert mark.split() == ["—", "pause,", "3.6", "s"] and mark.count(" ") == 2  # in one piece


def test_however_words_come_the_same_is_drawn(shown):
    """One by one, and all at once."""
    events = [Listening("Desk", 0.0)]
    for i in range(30):
        events += [Partial("w", i), Word(f"word{i}", i, i + 0.5)]
        events += [EndOfTurn(i + 0.8)] * (i % 7 == 6) + [Partial("", i + 0.5)] * (i % 3 == 0)
    one, other = shown(), shown()
    for event in events:
        one.tell(event)
    other.tell(*events)
    assert text(one.window) == text(other.window)
    assert text(one.window).count("pause") == 4 and text(one.window).count("word") == 30


def test_text_gets_larger_and_smaller(shown):
    s = shown()
    s.tell(Listening("Desk", 0.0), Word("the", 0.0, 0.4))
    size = s.window.paper._font.actual("size")
    assert size == SIZE
    s.window.resize(1)
    assert s.window.paper._font.actual("size") == larger(SIZE) > SIZE
    for _ in SIZES:
        s.window.resize(-1)
    assert s.window.paper._font.actual("size") == SIZES[0]
    s.window.resize(None)
    assert s.window.paper._font.actual("size") == SIZE


def test_times_are_left_out_where_there_is_no_room(shown):
    s = shown()
    s.tell(Listening("Desk", 0.0), Word("the", 0.0, 0.4))
    assert s.window.paper.text.tag_cget("time", "elide") == "0"
    s.window.root.geometry("300x300")
    wait_for(lambda: s.tell() or s.window.paper.text.tag_cget("time", "elide") == "1", 20)


@pytest.mark.parametrize("name", LOOKS)
def test_every_look_can_be_read(name):
    """By the contrast that WCAG 2 asks for: 4.5 of text, 3 of what can be pressed; of words, 7."""

    def light(colour):
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    def contrast(one, other):
        dark, bright = sorted((light(one), light(other)))
        return (bright + 0.05) / (dark + 0.05)

    look = LOOKS[name]
    assert contrast(look.ink, look.paper) >= (21 if name == "high" else 7)
    for one, other in (
        (look.soft, look.paper), (look.ink, look.bar), (look.soft, look.bar),
        (look.warn, look.bar), (look.on_accent, look.accent),
    ):  # fmt: skip
        assert contrast(one, other) >= 4.5
    assert contrast(look.edge, look.bar) >= 3 and contrast(look.accent, look.paper) >= 3


def test_contrast_is_seen_on_the_screen(shown, tmp_path):
    """Most of it is paper, and words have the colour of ink, accents that of the look."""
    s = shown()
    s.tell(Listening("Desk", 0.0), *(Word("mmmm", i, i + 0.5) for i in range(9)))
    window = desktop.window_called("Captions", s.window.root)
    for name in ("dark", "light", "high"):
        desktop.pick(s.window, "Contrast", LOOKS[name].title)
        assert s.window.look.get() == name
        found = {}

        def look(name=name, found=found):
            s.tell()
            path = tmp_path / f"{name}.png"
            found.update(desktop.colours(window, path, s.window.root))
            return max(found, key=found.get) == LOOKS[name].paper

        wait_for(look, 20)
        assert found[LOOKS[name].ink] > 500 and found[LOOKS[name].accent] > 500
        found.clear()
    s.window.next_look()
    assert s.window.look.get() == "dark"


def test_who_scrolls_back_is_left_there(shown):
    s = shown()
    s.tell(Listening("Desk", 0.0))
    many = [Word("word", i, i + 0.5) for i in range(600)]
    s.tell(*many[:500])
    paper = s.window.paper
    assert paper.text.yview()[1] == 1.0 and not paper.newest.winfo_ismapped()
    paper.page(-2)
    s.tell()
    before = paper.text.index("@0,0")
    s.tell(*many[500:])
    assert paper.text.index("@0,0") == before and paper.text.yview()[1] < 1.0
    assert paper.newest.winfo_ismapped()
    paper.newest.invoke()
    s.tell(Word("last", 700, 701))
    assert paper.text.yview()[1] == 1.0 and not paper.newest.winfo_ismapped()


def test_copying_takes_what_is_marked_or_all(shown):
    s = shown()
    s.window.copy()  # of nothing is nothing
    s.tell(Listening("Desk", 0.0), *(Word(w, i, i + 0.5) for i, w in enumerate(["a", "b", "c"])))
    s.tell(EndOfTurn(4.0), Word("d", 5.0, 5.4), Partial("e", 6.0))
    s.window.copy()
    assert s.window.root.clipboard_get() == "a b c\nd\n"
    s.window.paper.text.tag_add("sel", "1.5", "1.8")
    s.window.copy()
    assert s.window.root.clipboard_get() == "a b"
    assert state(s.window) == "●  Copied"


def test_saving(shown, tmp_path, monkeypatch):
    from dsm_mlx.desktop import window

    s = shown()
    s.tell(Listening("Desk", 0.0), Word("the", 0.0, 0.4))
    for name in ("a.srt", ""):  # and one who thinks better of it
        path = str(tmp_path / name) if name else ""
        monkeypatch.setattr(window.filedialog, "asksaveasfilename", lambda path=path, **_: path)
        s.window.ask_and_save()
    assert (tmp_path / "a.srt").read_text().startswith("1\n00:00:00,000 --> 00:00:00,800\nthe")
    assert state(s.window) == "●  Saved a.srt" and len(list(tmp_path.iterdir())) == 1
    s.window.save(str(tmp_path / "nowhere" / "a.txt"))
    assert state(s.window).startswith("▲  Not saved: No such file") and "nowhere" in state(s.window)
    s.window.save(str(tmp_path / "a.doc"))
    assert state(s.window).startswith("▲  Not saved: ") and "'doc'" in state(s.window)


def test_clearing(shown):
    s = shown()
    s.tell(Listening("Desk", 0.0), Word("the", 0.0, 0.4), Partial("bu", 0.5))
    s.window.clear()
    assert text(s.window) == HINT
    s.tell(Word("bus", 0.5, 0.9))
    assert tagged(s.window, "said") == ["bus"]


def test_starting_and_stopping(shown):
    s = shown(choice=Choice("tiny", "Desk", 0.5))
    button = s.window.bar.listen
    assert (state(s.window), button.cget("text")) == ("○  Ready", "Listen")
    button.invoke()
    assert s.listener.done == [Choice("tiny", "Desk", 0.5)] and button.cget("text") == "Stop"
    s.tell(Loading())
    assert "Loading" in state(s.window)
    s.tell(Listening("Desk", 0.0), Word("the", 0.0, 0.4), Partial("bu", 0.5))
    assert state(s.window) == "●  Listening to Desk"
    button.invoke()
    assert s.listener.done[-1] == "stop"
    s.listener.busy = False
    s.tell(Stopped())
    assert (state(s.window), button.cget("text")) == ("○  Ready", "Listen")
    assert text(s.window) == "0:00\tthe  — pause\n"


def test_what_goes_wrong_is_told(shown):
    s = shown()
    s.window.toggle()
    s.listener.busy = False
    s.tell(Stopped(AudioError("this machine has no microphone")))
    assert state(s.window) == "▲  This machine has no microphone"
    assert str(s.window.bar.state.cget("foreground")) == LOOKS["dark"].warn
    assert s.window.bar.listen.cget("text") == "Listen"


def test_what_befalls_a_microphone_is_told_until_it_is_over(shown):
    s = shown()
    s.tell(Listening("Desk", 0.0), Word("the", 0.0, 0.4))
    s.tell(DeviceEvent("silent", "Desk", "only silence arrives from 'Desk'"))
    assert state(s.window) == "▲  Only silence arrives from 'Desk'"
    s.listener.level = -40.0
    s.tell()
    assert state(s.window) == "●  Listening to Desk"
    s.tell(DeviceEvent("stopped", "Desk", "the microphone 'Desk' stopped; opening it again"))
    assert state(s.window) == "▲  The microphone 'Desk' stopped; opening it again"
    s.tell(DeviceEvent("changed", "Lap", "the microphone is now 'Lap', not 'Desk'"))
    assert state(s.window) == "●  Listening to Lap"
    s.tell(DeviceEvent("lost", "Lap", "the microphone 'Lap' is lost: no sound arrives"))
    s.tell(Waiting("the microphone 'Lap' is lost: no sound arrives"))
    assert state(s.window).startswith("▲  The microphone 'Lap' is lost") and "another" in state(
        s.window
    )
    s.tell(Listening("Desk", 0.0), Word("bus", 5.0, 5.4))
    assert state(s.window) == "●  Listening to Desk"
    assert tagged(s.window, "said") == ["the", "\n", "bus"]


def test_an_error_in_the_window_ends_it_and_is_raised(screen):
    from dsm_mlx.desktop.window import Settings, Window

    listener = desktop.Listener()
    window = Window(listener, Settings(listen=False))
    listener.messages.put(Word("late", "no number", 1.0))
    with pytest.raises(TypeError):
        window.run()
    assert listener.done == ["look", "close"]


def test_ctrl_c_ends_it(screen):
    from dsm_mlx.desktop.window import Settings, Window

    listener = desktop.Listener()
    window = Window(listener, Settings(choice=Choice("tiny")))
    window.root.after(10, lambda: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        window.run()
    assert listener.done == [Choice("tiny"), "close"]


def test_without_a_screen(monkeypatch):
    pytest.importorskip("tkinter")
    from dsm_mlx.desktop.window import Settings, Window

    monkeypatch.delenv("DISPLAY", raising=False)
    with pytest.raises(ValueError, match=re.escape("no window can be opened: no display")):
        Window(desktop.Listener(), Settings())
