"""The part of the window in which words are read."""

from __future__ import annotations

import tkinter as tk
from collections.abc import Callable, Sequence
from tkinter import font, ttk

from dsm_mlx.desktop.captions import Paragraph, stamp
from dsm_mlx.desktop.looks import Look

NARROW = 24  # signs of a line: where fewer fit, the times are left out
_SCROLLING = ("<MouseWheel>", "<Button-4>", "<Button-5>", "<Prior>", "<Next>", "<Up>", "<Down>")


class Paper(tk.Frame):
    """Paragraphs, of which only what is new is drawn. It follows what is said, unless somebody has
    scrolled back; `newest` leads to the end again."""

    def __init__(self, parent: tk.Misc, hint: str):
        super().__init__(parent)
        self.points, self._hint, self._follow = 0, hint, True
        self._drawn: int | None = None  # paragraphs; None: the hint is there
        self._words = 0  # drawn of the last of them
        family = font.nametofont("TkDefaultFont").actual("family")
        self._font = font.Font(self, family=family)
        self._slanted = font.Font(self, family=family, slant="italic")
        self._small = font.Font(self, family=family)
        self.text = tk.Text(
            self,
            wrap="word",
            state="disabled",
            font=self._font,
            padx=20,
            pady=14,
            borderwidth=0,
            highlightthickness=0,
            insertwidth=0,
            width=1,
            height=1,
        )
        self._bar = ttk.Scrollbar(self, command=self._scroll, style="Captions.Vertical.TScrollbar")
        self.newest = ttk.Button(
            self, text="Newest ↓", command=self.go_to_end, style="Captions.TButton"
        )
        self.text.configure(yscrollcommand=self._bar.set)
        self._bar.pack(side="right", fill="y")
        self.text.pack(side="left", fill="both", expand=True)
        for event in _SCROLLING:
            self.text.bind(event, lambda _: self.after_idle(self._look_where_we_are), add="+")
        self.text.bind("<Button-1>", lambda _: self.text.focus_set(), add="+")
        self.text.bind("<Configure>", lambda _: self._fit(), add="+")
        self.clear()

    # ---- how it looks

    def dress(self, look: Look) -> None:
        """Wear a look."""
        self.configure(background=look.paper)
        self.text.configure(
            background=look.paper,
            foreground=look.ink,
            selectbackground=look.accent,
            selectforeground=look.on_accent,
            inactiveselectbackground=look.accent,
        )
        self.text.tag_configure("said", foreground=look.ink)
        for tag in ("hint", "time", "going", "pause"):
            self.text.tag_configure(tag, foreground=look.soft)
        self.text.tag_raise("sel")

    def resize(self, size: int) -> None:
        """size: of the text, in points."""
        self.points = size
        small = max(9, round(0.6 * size))
        for known, points in (self._font, size), (self._slanted, size), (self._small, small):
            known.configure(size=points)
        between = self._font.metrics("linespace") // 6
        self.text.configure(spacing1=3 * between, spacing2=between, spacing3=between)
        self.text.tag_configure("going", font=self._slanted)
        self.text.tag_configure("time", font=self._small)
        self.text.tag_configure("pause", font=self._small)
        self._fit()

    def _fit(self) -> None:
        """Times stand before the text, where there is room for both."""
        wide = self.text.winfo_width() > NARROW * self._font.measure("n") + 40
        column = self._small.measure("0:00:00 ") if wide else 0
        self.text.tag_configure("time", elide=not wide)
        self.text.tag_configure("line", tabs=(max(column, 1),), lmargin2=column)
        if self._follow:
            self.text.see("end")

    # ---- what it shows

    def clear(self) -> None:
        """Show the hint alone, as at first."""
        self._drawn, self._follow = None, True
        self._change(lambda: self.text.delete("1.0", "end"))
        self._change(lambda: self.text.insert("end", self._hint, "hint"))

    def show(self, paragraphs: Sequence[Paragraph]) -> None:
        """Draw what was added to the paragraphs that were shown before."""
        if not paragraphs:
            return
        self._change(lambda: self._draw(paragraphs))
        if self._follow:
            self.text.see("end")

    def _draw(self, paragraphs: Sequence[Paragraph]) -> None:
        """Paragraphs begin with their first word. What is not settled, and the marks of pauses, is
        behind the mark "settled" at the end of the text: it is taken back each time."""
        if self._drawn is None:
            self.text.delete("1.0", "end")
            self._drawn = 0
        else:
            self.text.delete("settled", "end-1c")
        begun = [paragraph for paragraph in paragraphs if paragraph.words]
        for i in range(max(self._drawn - 1, 0), len(begun)):
            if i >= self._drawn:
                self._begin(begun[i], first=i == 0)
            self._go_on(begun[i])
        self._drawn = len(begun)
        if not begun:
            self._settle()
        last = paragraphs[-1]
        if last.going and not last.words:
            self._add("\n" if begun else "", "said")
            self._add("\t", "time")
            self._add(f"{last.going} …", "going")

    def _begin(self, paragraph: Paragraph, first: bool) -> None:
        self._words = 0
        self._add("" if first else "\n", "said")
        self._add(f"{stamp(paragraph.words[0].start)}\t", "time")

    def _go_on(self, paragraph: Paragraph) -> None:
        words = paragraph.words
        for i in range(self._words, len(words)):
            self._add((" " if i else "") + words[i].text, "said")
        self._words = len(words)
        self._settle()
        if paragraph.going:
            self._add(f" {paragraph.going} …", "going")
        if paragraph.mark:
            self._add("  " + f"— {paragraph.mark}".replace(" ", "\N{NO-BREAK SPACE}"), "pause")

    def _add(self, text: str, tag: str) -> None:
        self.text.insert("end-1c", text, (tag, "line"))

    def _settle(self) -> None:
        self.text.mark_set("settled", "end-1c")
        self.text.mark_gravity("settled", "left")

    def _change(self, change: Callable[[], object]) -> None:
        self.text.configure(state="normal")
        change()
        self.text.configure(state="disabled")

    @property
    def selected(self) -> str:
        """What somebody has marked."""
        ranges = self.text.tag_ranges("sel")
        return self.text.get(*ranges) if ranges else ""

    # ---- where we are

    def go_to_end(self) -> None:
        """Show what was said last, and follow what is said from now on."""
        self._follow = True
        self.text.see("end")
        self._look_where_we_are()

    def page(self, pages: int) -> None:
        """Scroll by so many of them, from whatever has the keyboard."""
        self.text.yview_scroll(pages, "pages")
        self._look_where_we_are()

    def _scroll(self, *where: str) -> None:
        self.text.yview(*where)
        self._look_where_we_are()

    def _look_where_we_are(self) -> None:
        """Somebody scrolled: perhaps back, or to the end again."""
        self._follow = self.text.yview()[1] >= 1.0
        if self._follow:
            self.newest.place_forget()
        else:
            self.newest.place(in_=self.text, relx=1.0, rely=1.0, x=-12, y=-12, anchor="se")
