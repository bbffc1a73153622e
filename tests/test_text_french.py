"""What is said in French for what is written."""

import pytest
from reading import said

NUMBERS = [
    ("0", "zéro"),
    ("21", "vingt et un"),
    ("71", "soixante et onze"),
    ("80", "quatre vingts"),
    ("99", "quatre vingt dix neuf"),
    ("1 000", "mille"),
    ("1 234 567", "un million deux cent trente quatre mille cinq cent soixante sept"),
    ("1.234", "mille deux cent trente quatre"),
    ("3,14", "trois virgule quatorze"),
    ("2,05", "deux virgule zéro cinq"),
    ("3.5", "trois virgule cinq"),
    ("-5", "moins cinq"),
    ("50 %", "cinquante pour cent"),
    ("50%", "cinquante pour cent"),
    ("2e", "deuxième"),
    ("22ème", "vingt deuxième"),
    ("1er", "premier"),
    ("1re", "première"),
    ("2nde", "seconde"),
    ("3-5", "trois à cinq"),
    ("1/2", "un demi"),
    ("2/3", "deux tiers"),
    ("3/4", "trois quarts"),
    ("8/10", "huit sur dix"),
    ("2 1/2", "deux et demi"),
    ("n°5", "numéro cinq"),
    ("n° 5", "numéro cinq"),
    ("#5", "numéro cinq"),
    ("x²", "x au carré"),
    ("2+2=4", "deux plus deux égale quatre"),
    ("06 12 34 56 78", "zéro six douze trente quatre cinquante six soixante dix huit"),
    ("06.12.34.56.78", "zéro six douze trente quatre cinquante six soixante dix huit"),
    ("+33 6 12 34 56 78",
     "plus trente trois six douze trente quatre cinquante six soixante dix huit"),
]  # fmt: skip

DATES = [
    ("en 1999", "en mille neuf cent quatre vingt dix neuf"),
    ("3 mars 1999", "trois mars mille neuf cent quatre vingt dix neuf"),
    ("le 1er mars", "le premier mars"),
    ("le 1 mars", "le premier mars"),
    ("3/4/2025", "trois avril deux mille vingt cinq"),
    ("01/02/2025", "premier février deux mille vingt cinq"),
    ("3-4-2025", "trois avril deux mille vingt cinq"),
    ("3.4.2025", "trois avril deux mille vingt cinq"),
    ("2025-03-04", "quatre mars deux mille vingt cinq"),
    ("14h30", "quatorze heures trente"),
    ("14 h 30", "quatorze heures trente"),
    ("14h", "quatorze heures"),
    ("1h", "une heure"),
    ("21 h", "vingt et une heures"),
    ("0h30", "zéro heure trente"),
    ("8h05", "huit heures cinq"),
    ("10:30", "dix heures trente"),
    ("8 h du matin", "huit heures du matin"),
]

MONEY_AND_UNITS = [
    ("5 €", "cinq euros"),
    ("1 €", "un euro"),
    ("€3", "trois euros"),
    ("5,50 €", "cinq euros cinquante"),
    ("0,50 €", "cinquante centimes"),
    ("1 000 €", "mille euros"),
    ("3 M€", "trois millions d'euros"),
    ("1 M€", "un million d'euros"),
    ("5 k€", "cinq mille euros"),
    ("1k€", "mille euros"),
    ("$5", "cinq dollars"),
    ("1 £", "une livre"),
    ("5 km", "cinq kilomètres"),
    ("1,5 km", "un virgule cinq kilomètre"),
    ("80 km/h", "quatre vingts kilomètres heure"),
    ("20°C", "vingt degrés Celsius"),
    ("20 °C", "vingt degrés Celsius"),
    ("3,5 Go", "trois virgule cinq gigaoctets"),
    ("21 s", "vingt et une secondes"),
    ("3-5 kg", "trois à cinq kilogrammes"),
    ("5 m²", "cinq mètres carrés"),
]

OTHERS = [
    ("M. Dupont", "Monsieur Dupont"),
    ("Mme X et Mlle Y", "Madame X et Mademoiselle Y"),
    ("Dr Petit", "Docteur Petit"),
    ("A & B", "A et B"),
    ("exemple.fr/a", "exemple point fr slash a"),
    ("bob@exemple.fr", "bob arobase exemple point fr"),
    ("https://exemple.fr/a-1", "exemple point fr slash a tiret un"),
]


@pytest.mark.parametrize(
    ("written", "spoken"), NUMBERS + DATES + MONEY_AND_UNITS + OTHERS, ids=lambda text: text
)
def test_what_is_said(written, spoken):
    assert said(written, "fr") == spoken
    assert said(f"oui {written}\u00a0!", "fr").removeprefix("oui ") == spoken
    assert said(written.replace(" ", "\u202f"), "fr") == spoken


def test_a_space_at_which_no_line_ends_glues_a_sign_to_its_word():
    assert said("Bonjour\u00a0! « Oui\u202f», dit-il\u00a0: non\u202f?", "fr") == (
        "Bonjour Oui ditil non"
    )
