import os

import pytest
import torch

import harness
from harness.contract.lines import library_of, neither


@pytest.mark.parametrize(
    ("file", "library"),
    [
        (torch.__file__, "torch"),
        (
            "/opt/base/lib/python3.11/site-packages/transformers/masking_utils.py",
            "transformers",
        ),  # another environment
        ("/usr/lib/python3/dist-packages/numpy/core.py", "numpy"),
        (r"C:\env\Lib\site-packages\six.py", "six"),
        (harness.__file__, ""),
        ("/home/me/papers/mine/training.py", ""),
    ],
)
def test_a_library_is_known_wherever_it_was_installed(file, library):
    assert library_of(file) == library


def test_what_is_neither_a_librarys_nor_the_houses_is_somebodys():
    assert neither("/home/me/papers/mine/training.py")
    assert not any(map(neither, (harness.__file__, os.__file__, torch.__file__, "<string>")))


def test_a_library_is_known_through_a_link(tmp_path):
    real = tmp_path / "site-packages" / "far"
    real.mkdir(parents=True)
    (tmp_path / "near").symlink_to(real)
    assert library_of(str(tmp_path / "near" / "deep.py")) == "far"
