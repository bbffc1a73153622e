"""French: its units, months, abbreviations, and how it says numbers."""

from __future__ import annotations

import re
from typing import ClassVar

from dsm_mlx.tts.text.grammar import Grammar, Number, Unit, units_of

_MONTHS = (
    *("janvier", "février", "mars", "avril", "mai", "juin", "juillet", "août", "septembre"),
    *("octobre", "novembre", "décembre"),
)


class French(Grammar):
    """What is said in French."""

    code = "fr"
    NUMBER = r"(?:\d{1,3}(?:\.\d{3})+(?:,\d+)?|\d{1,3}(?:,\d{3}){2,}(?:\.\d+)?|\d+(?:[.,]\d+)?)"
    day_first_with = "./-"
    minus, point, to = "moins", "virgule", "à"
    dot, at, slash, dash, underscore = "point", "arobase", "slash", "tiret", "tiret bas"
    squared, cubed, power = "au carré", "au cube", "puissance"
    hashtag, number_sign = "hashtag", "numéro"
    units: ClassVar = units_of("""
        km: kilomètre
        m: mètre
        cm: centimètre
        mm: millimètre
        µm μm: micromètre
        nm: nanomètre
        km² km2: kilomètre carré/kilomètres carrés
        m² m2: mètre carré/mètres carrés
        cm² cm2: centimètre carré/centimètres carrés
        m³ m3: mètre cube/mètres cubes
        cm³ cm3: centimètre cube/centimètres cubes
        ha: hectare
        kg: kilogramme
        g: gramme
        mg: milligramme
        µg μg: microgramme
        t: tonne
        l L: litre
        cl cL: centilitre
        ml mL: millilitre
        km/h kmh: kilomètre heure/kilomètres heure
        m/s: mètre par seconde/mètres par seconde
        °C: degré Celsius/degrés Celsius
        °F: degré Fahrenheit/degrés Fahrenheit
        °: degré
        Ko ko KB kB: kilooctet
        Mo MB: mégaoctet
        Go GB: gigaoctet
        To TB: téraoctet
        Go/s GB/s: gigaoctet par seconde/gigaoctets par seconde
        Mo/s MB/s: mégaoctet par seconde/mégaoctets par seconde
        Mbps Mbit/s: mégabit par seconde/mégabits par seconde
        Gbps Gbit/s: gigabit par seconde/gigabits par seconde
        Hz: hertz/hertz
        kHz: kilohertz/kilohertz
        MHz: mégahertz/mégahertz
        GHz: gigahertz/gigahertz
        W: watt
        kW: kilowatt
        MW: mégawatt
        kWh: kilowattheure
        V: volt
        mAh: milliampère heure
        dB: décibel
        px: pixel
        h: heure
        min mn: minute
        s sec: seconde
        ms: milliseconde
        kcal: kilocalorie
        %: pour cent/pour cent
        ‰: pour mille/pour mille
    """)
    currencies: ClassVar = {
        "€": (Unit("euro", "euros"), Unit("centime", "centimes")),
        "$": (Unit("dollar", "dollars"), Unit("cent", "cents")),
        "£": (Unit("livre", "livres"), Unit("penny", "pence")),
        "¥": (Unit("yen", "yens"), Unit("", "")),
        "₹": (Unit("roupie", "roupies"), Unit("", "")),
        "EUR": (Unit("euro", "euros"), Unit("centime", "centimes")),
        "USD": (Unit("dollar", "dollars"), Unit("cent", "cents")),
        "GBP": (Unit("livre", "livres"), Unit("penny", "pence")),
        "CHF": (Unit("franc suisse", "francs suisses"), Unit("centime", "centimes")),
    }
    multipliers: ClassVar = {
        "k": "mille", "K": "mille", "M": "million", "m": "million", "Md": "milliard",
        "Mds": "milliard", "mille": "mille", "million": "million", "millions": "million",
        "milliard": "milliard", "milliards": "milliard",
    }  # fmt: skip
    months = _MONTHS
    month_names: ClassVar = (
        {name: i for i, name in enumerate(_MONTHS, 1)}
        | {name.capitalize(): i for i, name in enumerate(_MONTHS, 1)}
        | {"janv": 1, "févr": 2, "avr": 4, "juil": 7, "sept": 9, "oct": 10, "nov": 11, "déc": 12}
    )
    abbreviations: ClassVar = {
        "M.": "Monsieur", "Mme": "Madame", "Mlle": "Mademoiselle", "MM.": "Messieurs",
        "Mmes": "Mesdames", "Dr": "Docteur", "Dr.": "Docteur", "Pr": "Professeur",
        "etc.": "et cetera", "etc": "et cetera", "p.ex.": "par exemple", "c.-à-d.": "c'est à dire",
        "env.": "environ", "av.": "avenue", "bd": "boulevard", "Cie": "compagnie",
        "ex.": "exemple", "vs": "contre",
    }  # fmt: skip
    signs: ClassVar = {
        "&": "et", "+": "plus", "=": "égale", "<": "inférieur à", ">": "supérieur à",
        "\u00d7": "fois", "*": "fois", "÷": "divisé par", "%": "pour cent", "€": "euros",
        "$": "dollars", "£": "livres", "@": "arobase", "≈": "environ", "~": "environ",
        "±": "plus ou moins", "≤": "au plus", "≥": "au moins", "≠": "différent de",
        "#": "numéro", "°": "degrés", "n°": "numéro", "N°": "numéro", "nº": "numéro",
    }  # fmt: skip
    _FRACTIONS: ClassVar = {2: "demi", 3: "tiers", 4: "quart"}
    _FEMININE: ClassVar = {"heure", "minute", "seconde", "milliseconde", "tonne", "livre"} | {
        "roupie", "kilocalorie",
    }  # fmt: skip

    def parse(self, text: str, negative: bool = False) -> Number | None:
        if not re.fullmatch(self.NUMBER, text):
            return None
        if re.fullmatch(r"\d{1,3}(?:\.\d{3})+(?:,\d+)?", text):
            text = text.replace(".", "")
        elif re.fullmatch(r"\d{1,3}(?:,\d{3}){2,}(?:\.\d+)?", text):
            text = text.replace(",", "")
        whole, point, decimals = text.replace(",", ".").partition(".")
        return Number(whole, decimals if point else None, negative)

    def decimals(self, digits: str) -> str:
        """As a number, after its noughts: virgule zéro cinq, virgule quatorze."""
        rest = digits.lstrip("0")
        if not rest or len(rest) > 3:
            return self.digits(digits)
        noughts = ["zéro"] * (len(digits) - len(rest))
        return " ".join([*noughts, self.cardinal(int(rest))])

    def is_single(self, number: Number) -> bool:
        return number.whole in ("0", "1")

    def counted(self, number: Number, unit: Unit, multiplier: str = "") -> str:
        if multiplier == "mille" and number.is_one:
            return "moins mille" if number.negative else "mille"
        words = super().counted(number, unit, multiplier)
        feminine = unit.one in self._FEMININE and not multiplier and number.decimals is None
        return words + "e" if feminine and re.search(r"\bun$", words) else words

    def multiple(self, number: Number, multiplier: str) -> str:
        return multiplier if multiplier == "mille" or self.is_single(number) else f"{multiplier}s"

    def unit(self, number: Number, unit: Unit, multiplier: str = "") -> str:
        if multiplier in ("", "mille"):
            return super().unit(number, unit, multiplier)
        return f"d'{unit.more}" if unit.more[0] in "aeiouéh" else f"de {unit.more}"

    def with_cents(self, large: str, small: str, cents: Number) -> str:
        return f"{large} {self.number(cents)}"

    def date(self, year: int, month: int, day: int) -> str:
        first = "premier" if day == 1 else self.cardinal(day)
        return f"{first} {self.months[month - 1]} {self.cardinal(year)}"

    def time(self, hour: int, minute: int, half: str = "") -> str:
        words = self.count(Number(str(hour)), self.units["h"])
        if minute:
            small = self.cardinal(minute)
            words += f" {small}e" if small.endswith("un") else f" {small}"
        return words

    def fraction(self, above: int, below: int) -> str | None:
        if below in (10, 20, 100) and 1 < above <= below:
            return f"{self.cardinal(above)} sur {self.cardinal(below)}"
        if not 0 < above < below <= 10:
            return None
        name = self._FRACTIONS.get(below) or self.ordinal(below)
        plural = name if above == 1 or name.endswith("s") else f"{name}s"
        return f"{self.cardinal(above)} {plural}"

    def mixed(self, whole: str, above: int, below: int) -> str | None:
        part = self.fraction(above, below)
        if part is None or " sur " in part:
            return None
        part = part.removeprefix("un ") if below == 2 else part
        return f"{self.whole(whole)} et {part}"

    def ordinal_of(self, core: str) -> str | None:
        match = re.fullmatch(r"(\d{1,9})(er|re|ère|ere|e|è|ème|eme|nde|nd)", core)
        if not match:
            return None
        value, ending = int(match[1]), match[2]
        if value == 1:
            return "premier" if ending == "er" else "première"
        if ending.startswith("n"):
            return "seconde" if ending == "nde" else "second"
        return self.ordinal(value)
