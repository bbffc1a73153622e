"""The bar of the captions window: menus, keys, the level, and room for the words."""

import desktop
import pytest
from commands import wait_for

from dsm_mlx.audio.devices import Device
from dsm_mlx.desktop.listening import Choice, Devices, Loaded, Stopped


@pytest.fixture
def shown(screen):
    yield from desktop.windows()


def test_choosing_another_microphone_model_and_delay_goes_on_with_them(shown):
    s = shown(models=["tiny", "stt-1b"])
    found = [Device(i, n, 1, 0, 48_000.0, False, False) for i, n in enumerate(["A", "B", "B"])]
    s.tell(Devices(found), Loaded("tiny", (0.5, 2.5)))
    s.window.start()
    for menu, entry, choice in (
        ("Microphone", "A", Choice(None, "A")),
        ("Microphone", "B (2)", Choice(None, 2)),
        ("Model", "stt-1b", Choice("stt-1b", 2)),
        ("Delay", "2.5 s", Choice("stt-1b", 2, 2.5)),
        ("Microphone", "System default", Choice("stt-1b", None, 2.5)),
    ):
        if menu in ("Model", "Delay"):
            inner = s.window.bar._menu.entrycget(menu, "menu")
            s.window.root.nametowidget(inner).invoke(entry)
        else:
            desktop.pick(s.window, menu, entry)
        assert s.listener.done[-1] == "stop"
        s.listener.busy = False
        s.tell(Stopped())
        assert s.listener.done[-1] == choice
    s.tell(Loaded("stt-2.6b", (2.5,)))
    assert s.window.bar._menu.entrycget("Delay", "state") == "disabled"


def test_a_server_leaves_no_choice_of_models(shown):
    menu = shown(models=()).window.bar._menu
    labels = [
        menu.entrycget(i, "label") for i in range(menu.index("end")) if menu.type(i) != "separator"
    ]
    assert "Model" not in labels and "Delay" in labels


def test_the_level_is_shown(shown):
    s = shown()
    widths = []
    for level in (-120.0, -30.0, 0.0):
        s.listener.level = level
        s.tell()
        left, _, right, _ = s.window.bar.level.coords(s.window.bar.level._bar)
        widths.append(right - left)
    assert widths[0] == 0 and widths[1] == pytest.approx(widths[2] / 2, abs=1) and widths[2] > 80


def test_the_buttons_fit_into_any_width(shown):
    s = shown()
    flow = s.window.bar._flow
    rows = {}
    for width in (900, 420, 260):
        s.window.root.geometry(f"{width}x400")
        wait_for(lambda width=width: s.tell() or s.window.root.winfo_width() == width, 20)
        wait_for(lambda: s.tell() or flow._items[-1].winfo_y() < flow.winfo_height(), 20)
        for item in flow._items:
            assert item.winfo_x() + item.winfo_width() <= flow.winfo_width()
            assert item.winfo_y() + item.winfo_height() <= flow.winfo_height()
        rows[width] = len({item.winfo_y() for item in flow._items})
    assert rows[900] == 1 < rows[420] < rows[260]


def test_a_low_window_has_words_before_buttons(shown):
    s = shown()
    flow = s.window.bar._flow
    for size, seen in (("400x180", False), ("400x460", True), ("900x200", True)):
        s.window.root.geometry(size)
        wait_for(lambda seen=seen: s.tell() or bool(flow.winfo_ismapped()) == seen, 20)
        assert s.window.paper.winfo_height() >= 60 and s.window.bar.state.winfo_ismapped()


def test_words_alone(shown):
    s = shown()
    s.window.hide_bar()
    s.tell()
    assert not s.window.bar.winfo_ismapped()
    s.window.root.event_generate("<Escape>")
    s.tell()
    assert s.window.bar.winfo_ismapped()


def test_every_key_of_the_menu_does_what_it_says(shown, monkeypatch):
    from dsm_mlx.desktop.bar import ACTIONS

    s = shown()
    done = []
    names = ("toggle", "copy", "ask_and_save", "clear", "next_look", "hide_bar")
    for name in names:
        monkeypatch.setattr(s.window, name, lambda name=name: done.append(name))
    monkeypatch.setattr(s.window, "resize", lambda steps: done.append(steps))
    monkeypatch.setattr(s.window, "stay", lambda on: done.append(on))
    for action in ACTIONS[:-1]:
        for key in action.keys:
            s.window.root.event_generate(f"<Control-{key}>")
    sizes = [1, 1, 1, -1, -1, None]
    assert done == [
        "toggle",
        "copy",
        "ask_and_save",
        "clear",
        *sizes,
        "next_look",
        False,
        "hide_bar",
    ]
    menu = s.window.bar._menu
    shown_keys = [menu.entrycget(i, "accelerator") for i in range(menu.index("end") + 1)
                  if menu.type(i) == "command"]  # fmt: skip
    assert shown_keys == [f"Ctrl+{action.key}" for action in ACTIONS]
