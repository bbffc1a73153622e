"""English: its units, months, abbreviations, and how it says numbers."""

from __future__ import annotations

import re
from typing import ClassVar

from dsm_mlx.tts.text.grammar import Grammar, Number, Unit, said, units_of

_MONTHS = (
    *("January", "February", "March", "April", "May", "June", "July", "August", "September"),
    *("October", "November", "December"),
)


class English(Grammar):
    """What is said in English."""

    code = "en"
    NUMBER = r"(?:\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:[.,]\d+)?|\.\d+)"
    day_first_with = "."
    units: ClassVar = units_of("""
        km: kilometre
        m: metre
        cm: centimetre
        mm: millimetre
        µm μm: micrometre
        nm: nanometre
        mi: mile
        ft: foot/feet
        yd: yard
        km² km2: square kilometre
        m² m2: square metre
        cm² cm2: square centimetre
        m³ m3: cubic metre
        cm³ cm3: cubic centimetre
        ha: hectare
        kg: kilogram
        g: gram
        mg: milligram
        µg μg: microgram
        lb lbs: pound
        oz: ounce
        l L: litre
        cl cL: centilitre
        ml mL: millilitre
        km/h kph kmh: kilometre per hour/kilometres per hour
        mph: mile per hour/miles per hour
        m/s: metre per second/metres per second
        °C: degree Celsius/degrees Celsius
        °F: degree Fahrenheit/degrees Fahrenheit
        °: degree
        KB kB KiB: kilobyte
        MB MiB: megabyte
        GB GiB: gigabyte
        TB TiB: terabyte
        GB/s: gigabyte per second/gigabytes per second
        MB/s: megabyte per second/megabytes per second
        kbps kbit/s: kilobit per second/kilobits per second
        Mbps Mbit/s: megabit per second/megabits per second
        Gbps Gbit/s: gigabit per second/gigabits per second
        Hz: hertz/hertz
        kHz: kilohertz/kilohertz
        MHz: megahertz/megahertz
        GHz: gigahertz/gigahertz
        W: watt
        kW: kilowatt
        MW: megawatt
        kWh: kilowatt hour
        V: volt
        mAh: milliamp hour
        dB: decibel
        px: pixel
        fps: frame per second/frames per second
        h hr hrs: hour
        min mins: minute
        s sec secs: second
        ms: millisecond
        kcal: kilocalorie
        %: percent/percent
        ‰: per mille/per mille
    """)
    currencies: ClassVar = {
        "$": (Unit("dollar", "dollars"), Unit("cent", "cents")),
        "€": (Unit("euro", "euros"), Unit("cent", "cents")),
        "£": (Unit("pound", "pounds"), Unit("penny", "pence")),
        "¥": (Unit("yen", "yen"), Unit("", "")),
        "₹": (Unit("rupee", "rupees"), Unit("paisa", "paise")),
        "USD": (Unit("dollar", "dollars"), Unit("cent", "cents")),
        "EUR": (Unit("euro", "euros"), Unit("cent", "cents")),
        "GBP": (Unit("pound", "pounds"), Unit("penny", "pence")),
        "CHF": (Unit("Swiss franc", "Swiss francs"), Unit("centime", "centimes")),
    }
    multipliers: ClassVar = {
        "k": "thousand", "K": "thousand", "m": "million", "M": "million", "mn": "million",
        "b": "billion", "B": "billion", "bn": "billion", "tn": "trillion", "T": "trillion",
        "hundred": "hundred", "thousand": "thousand", "million": "million", "billion": "billion",
        "trillion": "trillion",
    }  # fmt: skip
    months = _MONTHS
    month_names: ClassVar = (
        {name: i for i, name in enumerate(_MONTHS, 1)}
        | {name[:3]: i for i, name in enumerate(_MONTHS, 1)}
        | {"Sept": 9}
    )
    abbreviations: ClassVar = {
        "Dr.": "Doctor", "Mr.": "Mister", "Mrs.": "Missus", "Ms.": "Miz", "Prof.": "Professor",
        "Dr": "Doctor", "Mr": "Mister", "Mrs": "Missus", "Ms": "Miz", "Jr.": "Junior",
        "Sr.": "Senior", "vs.": "versus", "vs": "versus", "etc.": "et cetera", "etc": "et cetera",
        "e.g.": "for example", "i.e.": "that is", "approx.": "approximately", "w/o": "without",
        "w/": "with", "a.k.a.": "also known as", "incl.": "including", "dept.": "department",
    }  # fmt: skip
    signs: ClassVar = {
        "&": "and", "+": "plus", "=": "equals", "<": "less than", ">": "greater than",
        "\u00d7": "times", "*": "times", "÷": "divided by", "%": "percent", "€": "euros",
        "$": "dollars", "£": "pounds", "@": "at", "≈": "about", "~": "about", "±": "plus or minus",
        "≤": "at most", "≥": "at least", "≠": "is not", "#": "number", "°": "degrees",
    }  # fmt: skip
    _FRACTIONS: ClassVar = {2: "half", 4: "quarter"}

    def parse(self, text: str, negative: bool = False) -> Number | None:
        if not re.fullmatch(self.NUMBER, text):
            return None
        if re.fullmatch(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?", text):
            text = text.replace(",", "")
        whole, point, decimals = text.replace(",", ".").partition(".")
        return Number(whole or "0", decimals if point else None, negative)

    def year(self, value: int) -> str:
        return said(value, self.code, "year") if 1000 <= value <= 2999 else self.cardinal(value)

    def with_cents(self, large: str, small: str, cents: Number) -> str:
        return f"{large} and {small}"

    def date(self, year: int, month: int, day: int) -> str:
        return f"{self.months[month - 1]} {self.ordinal(day)}, {self.year(year)}"

    def time(self, hour: int, minute: int, half: str = "") -> str:
        if minute:
            small = f"oh {self.cardinal(minute)}" if minute < 10 else self.cardinal(minute)
            words = f"{self.cardinal(hour)} {small}"
        elif half:
            words = self.cardinal(hour)
        elif hour in (0, 24):
            return "midnight"
        else:
            words = (
                f"{self.cardinal(hour)} o'clock" if hour <= 12 else f"{self.cardinal(hour)} hundred"
            )
        return f"{words} {half}" if half else words

    def fraction(self, above: int, below: int) -> str | None:
        if below in (10, 20, 100) and 1 < above <= below:
            return f"{self.cardinal(above)} out of {self.cardinal(below)}"
        if not 0 < above < below <= 10:
            return None
        name = self._FRACTIONS.get(below) or self.ordinal(below)
        return f"{self.cardinal(above)} {name if above == 1 else name + 's'}"

    def mixed(self, whole: str, above: int, below: int) -> str | None:
        part = self.fraction(above, below)
        if part is None or " out of " in part:
            return None
        if above == 1:
            part = ("an " if below == 8 else "a ") + part.removeprefix("one ")
        return f"{self.whole(whole)} and {part}"

    def ordinal_of(self, core: str) -> str | None:
        match = re.fullmatch(
            r"(\d{1,3}(?:,\d{3}){0,4}|\d{1,9})(?:st|nd|rd|th)", core, re.IGNORECASE
        )
        return self.ordinal(int(match[1].replace(",", ""))) if match else None
