"""The number a text states, exactly: by a table of cases, by fractions written in many ways, and by math-verify."""

import json
import os
from fractions import Fraction as F
from pathlib import Path

import pytest
from harness_score.numbers import same_number, stated_number
from hypothesis import given, settings
from hypothesis import strategies as st

BIG = 9007199254740993  # 2^53 + 1
TABLE = {
    "signs": {
        "#### -5": -5, "#### −5": -5, "#### –5": -5, "#### －5": -5, "#### ‑5": -5, "#### - 5": -5, "$-5": -5,
        "-$5": -5, "−$5.50": F(-11, 2), "(-5)": -5, "x=-5": -5, "**-5**": -5, "-.5": F(-1, 2), "negative 5": -5,
        "minus 2.5": F(-5, 2), "10 minus 5": 5, "5 - 3": 3, "COVID-19": 19, "+5": 5, "-0": 0,
    },
    "ranges and dates": {
        "pages 10-20": 20, "pages 10–20": 20, "pages 10 - 20": 20, "5%-10%": 10, "1/2/2024": 2024, "2024-01-05": 5,
        "version 3.5.1": F(7, 2), "2:30": 30,
    },
    "fractions": {
        "answer is 3/4": F(3, 4), "the answer is -3/4": F(-3, 4), "1 1/2": F(3, 2), "answer is -1 1/2": F(-3, 2),
        "½": F(1, 2), "1½": F(3, 2), r"\frac{3}{4}": F(3, 4), r"-\frac{3}{4}": F(-3, 4), r"1\frac{1}{2}": F(3, 2),
        r"\dfrac34": F(3, 4), "3/4 of it": F(3, 4), "12 / 4 = 3": 3, "5/0": None, "1.5/2": F(3, 4),
        "-½": F(-1, 2), "−1½": F(-3, 2), "x=-¾": F(-3, 4), "1 ½": F(3, 2), r"\frac{3}{-4}": F(-3, 4),
        r"-\frac{-3}{4}": F(3, 4), r"-2\frac{1}{3}": F(-7, 3), r"\frac{1,234}{5}": F(1234, 5), "1/-2": F(-1, 2),
        "5/1,234": F(5, 1234), "(-3)/(4)": F(-3, 4), "5/-0": None,
    },
    "thousands": {
        "1,234": 1234, "The answer is 1 200": 1200, "1\u202f234": 1234, "1'200": 1200, "1_000": 1000,
        "1.234.567": 1234567, "1.234": F(617, 500), "1,00,000": 100000, "#### 1{,}234": 1234,
        "$1,234,567.89": F(123456789, 100), "12,34": 34,
        "1,234.50.": F(2469, 2), "₩1,000원": 1000,
        "1.234,56": F(30864, 25), "#### -1.234.567,5 €": F(-2469135, 2), "1 234,5": F(2469, 2), "1, 2,345": 2345,
    },
    "powers of ten": {
        "#### 2.5e3": 2500, "-1E-3": F(-1, 1000), "2.5 × 10^3": 2500, "2.5x10^3": 2500, r"2.5 \times 10^{3}": 2500,
        "10³": 1000, "2.5 × 10⁻³": F(1, 400), "10**3": 1000, "2^10": 1024, "5 m²": 5, "7eggs": 7,
    },
    "large": {f"{BIG}": BIG, f"-{BIG:,}": -BIG, "9" * 5000: None, "1e99999999": None, "9^99999": None, "2^9999": None},
    "marks": {
        "#### 5\nIs this answer is correct? No.": 5, "The answer is five (5). My answer is final": 5, "#### none": None,
        "The answer is 3. No: the answer is 4.": 4, "The answer is 3 + 4 = 7.": 7,
        "The answer is 4. I checked with 9.": 4,
        r"\boxed{18}": 18, r"\boxed{-5} in 3 steps": -5, "The answer is:\n\n 42 apples": 42, "x = 3": 3,
        "She has 3 + 4 = 7 apples.": 7, "no number here": None, "": None,
    },
    "other": {"18%": 18, "٣٤": 34, "١٬٢٣٤": 1234, "٣٫٥": F(7, 2), "١٨٪": 18,
        "#### ５．５": F(11, 2), r"\$18": 18, "18.00": 18, ".5": F(1, 2)},
}  # fmt: skip
CASES = [(kind, text, value) for kind, cases in TABLE.items() for text, value in cases.items()]


@pytest.mark.parametrize(("kind", "text", "value"), CASES, ids=lambda part: str(part)[:30])
def test_a_text_states_the_number_of_the_table(kind, text, value):
    found = stated_number(text)
    assert found == value
    assert found is None or isinstance(found, F)


FORMS = {
    "plain": str,
    "commas": lambda n: f"{n:,}",
    "minus sign": lambda n: str(n).replace("-", "−"),
    "blanks": lambda n: f"{n:,}".replace(",", " "),
    "currency": lambda n: f"{'-' if n < 0 else ''}${abs(n):,}",
    "point": lambda n: f"{n}.00",
    "boxed": lambda n: f"\\boxed{{{n}}}",
    "full width": lambda n: "".join(chr(ord(sign) + 0xFEE0) for sign in str(n)),
}


@given(
    st.integers(-(10**40), 10**40),
    st.sampled_from(sorted(FORMS)),
    st.sampled_from(["", "#### ", "The answer is "]),
)
@settings(max_examples=200, deadline=None)
def test_an_integer_of_any_size_is_read_in_each_form(number, form, mark):
    assert stated_number(f"We had 3 and 4.\n{mark}{FORMS[form](number)}.") == number


@given(
    st.integers(-(10**9), 10**9),
    st.integers(1, 10**6),
    st.sampled_from(["{}/{}", r"\frac{{{}}}{{{}}}", "{} / {}"]),
)
@settings(max_examples=100, deadline=None)
def test_a_fraction_is_itself_in_each_form(over, under, form):
    assert stated_number("so " + form.format(over, under)) == F(over, under)


@given(
    st.integers(-(10**12), 10**12),
    st.integers(-30, 30),
    st.sampled_from(["{}e{}", "{} x 10^{}", "{} × 10^{{{}}}"]),
)
@settings(max_examples=100, deadline=None)
def test_scientific_notation_is_exact(number, power, form):
    assert stated_number("#### " + form.format(number, power)) == number * F(10) ** power


@given(st.decimals(-(10**12), 10**12, allow_nan=False, places=6))
@settings(max_examples=100, deadline=None)
def test_a_decimal_is_no_float(number):
    assert stated_number(f"{number:f}") == F(number)


@given(st.text(alphabet="0123456789.,-−/ ^e%$#\\{}()=x×10 answer is", max_size=60))
@settings(max_examples=300, deadline=1000)
def test_no_text_breaks_it(text):
    found = stated_number(text)
    assert found is None or isinstance(found, F)


def test_numbers_beyond_a_float_s_are_told_apart_and_percents_are_what_they_say():
    assert same_number(str(BIG), f"#### {BIG:,}")
    assert not same_number(str(BIG), f"#### {BIG - 1}")
    assert same_number("18", "18%")
    assert same_number("0.18", "18%")
    assert same_number("18%", "0.18")
    assert not same_number("0.18%", "18%")
    assert not same_number("none", "none")


MATHS = [
    ("3/4", "The answer is 0.75"), ("-5", "#### −5"), ("1200", "#### 1,200"), ("2500", "#### 2.5e3"),
    ("0.5", r"\frac{1}{2}"), ("7", "x = 7"), (str(BIG), f"{BIG}"), (str(BIG), f"{BIG - 1}"),
    ("5", "-5"), ("3/4", "4/3"), ("1.5", "3/2"),
]  # fmt: skip


@pytest.mark.parametrize(("expected", "answer"), MATHS)
def test_math_verify_agrees_where_it_reads_the_same(expected, answer):
    math_verify = pytest.importorskip("math_verify")
    value = stated_number(answer)
    plain = f"${value.numerator}/{value.denominator}$" if value.denominator > 1 else f"${value.numerator}$"
    theirs = math_verify.verify(math_verify.parse(f"${expected}$"), math_verify.parse(plain))
    assert same_number(expected, answer) == theirs


def test_gsm8k_s_answers_are_what_int_and_fractions_make_of_them():
    home = os.environ.get("HARNESS_DATA")
    if not home or not Path(home, "gsm8k").is_dir():
        pytest.skip("HARNESS_DATA names no folder with gsm8k")
    for line in Path(home, "gsm8k", "test.jsonl").read_text(encoding="utf-8").splitlines():
        answer = json.loads(line)["answer"]
        assert stated_number(answer) == F(answer.rpartition("####")[2].strip().replace(",", ""))
