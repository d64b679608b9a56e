"""The report as a file: whole, alone, small, escaped, and strict about what may run in it."""

import base64
import hashlib
import re
import zlib
from html.parser import HTMLParser
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from label_gen.errors import GridError
from nnunet_ext.report import write_report
from nnunet_ext.volumes import Volume

VOID = {"meta", "link", "img", "input", "rect"}


class Reader(HTMLParser):
    """Collects elements and their attributes; elements have to be closed in order."""

    def __init__(self, text):
        super().__init__()
        self.found, self.open, self.raw = [], [], {}
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, text):
        if self.open:
            self.raw[self.open[-1]] = self.raw.get(self.open[-1], "") + text


@pytest.fixture(scope="module")
def text(report):
    return report.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def picture(tmp_path_factory):
    path = tmp_path_factory.mktemp("picture") / "preview.png"
    Image.new("RGB", (40, 30), (1, 2, 3)).save(path)
    return path


@pytest.fixture(scope="module")
def page(text):
    return Reader(text)


def test_elements_are_closed_and_ids_differ(page):
    assert page.open == []
    ids = [attributes["id"] for _, attributes in page.found if "id" in attributes]
    assert len(ids) == len(set(ids))
    for _, attributes in page.found:
        for key in ("aria-labelledby", "aria-describedby"):
            assert attributes.get(key, ids[0]) in ids


def test_nothing_is_outside_the_file(page, text):
    assert not re.search(r"https?:|ftp:", text)
    for tag, attributes in page.found:
        assert attributes.get("src", "data:").startswith("data:")
        assert attributes.get("href", "#").startswith(("#", "data:"))
        assert not {"style", "srcset", "action"} & set(attributes), tag
        assert not [key for key in attributes if key.startswith("on")]
    assert "@import" not in text
    assert "url(" not in text


def test_policy_allows_this_script_and_style_only(page, text):
    rules = next(a["content"] for _, a in page.found if a.get("http-equiv") == "Content-Security-Policy")
    parts = dict(rule.strip().split(" ", 1) for rule in rules.split(";"))
    assert parts["default-src"] == "'none'"
    assert parts["img-src"] == "data:"
    assert set(parts) == {"default-src", "img-src", "script-src", "style-src", "base-uri", "form-action"}
    for tag, rule in (("style", "style-src"), ("script", "script-src")):
        content = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        assert len(content) == 1
        digest = base64.b64encode(hashlib.sha256(content[0].encode()).digest()).decode()
        assert parts[rule] == f"'sha256-{digest}'"


def test_hostile_names_are_escaped(text):
    assert "alert(" in text
    assert '<script>alert("x")' not in text
    assert "</title>:" not in text
    assert "patient" not in re.sub(r"[Tt]he patient's right", "", text)  # the folder of the warning


def test_content(page, text, case):
    assert "Research use only, not a medical device." in text
    assert "cut by the field of view" in text
    assert "12.35" in text
    assert "twice" not in text
    for name in case[2].values():
        assert text.count(name.display_name) >= 4
    assert "7 fragments of 4 bones · 3 fracture interfaces, 1 doubtful" in text
    headings = [tag for tag, _ in page.found if tag in ("h1", "h2", "h3")]
    assert headings[0] == "h1"
    assert headings.count("h1") == 1
    assert all("alt" in attributes for tag, attributes in page.found if tag == "img")


def test_data(content, case):
    _, labels, names = case
    volume = content["volume"]
    found = np.frombuffer(zlib.decompress(base64.b64decode(volume["labels"])), np.uint8).reshape(volume["shape"])
    voxels = np.bincount(found.ravel(), minlength=len(names) + 1)
    for index, (number, name) in enumerate(names.items()):
        fragment = content["fragments"][index]
        assert fragment == {
            "number": number,
            "name": name.display_name,
            "bone": name.bone,
            "colour": list(name.colour),
            "mesh": index,
        }
        assert voxels[index + 1] == np.count_nonzero(labels.array == number)
    assert len(volume["slices"]) == volume["shape"][0]
    assert [fracture["pair"] for fracture in content["fractures"]] == [[51, 53], [51, 52], [52, 53]]
    for fracture in content["fractures"]:
        z, y, x = fracture["place"]
        assert volume["shape"][0] > z
        assert names[content["fragments"][found[z, y, x] - 1]["number"]].label in fracture["pair"]
    assert len(content["meshes"]["counts"]) == len(names)


def test_same_bytes_and_no_leftovers(case, picture, tmp_path):
    _, labels, names = case
    for name in "ab":
        write_report(tmp_path / f"{name}.html", ct=None, labels=labels, names=names, title="Case", preview=picture)
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.html", "b.html"]
    assert "<h1>Case</h1>" in (tmp_path / "a.html").read_text()


def test_no_fragment(picture, tmp_path):
    empty = Volume(np.zeros((8, 9, 10), np.uint8), (1.0, 1.0, 1.0))
    write_report(tmp_path / "a.html", ct=None, labels=empty, names={}, warnings=["no bone was found"], preview=picture)
    text = (tmp_path / "a.html").read_text()
    assert "0 fragments of 0 bones" in text
    assert "no bone was found" in text


def test_surfaces_that_are_given(case, picture, tmp_path):
    _, labels, names = case
    surface = SimpleNamespace(vertices=np.eye(4, 3) * 30, faces=np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [0, 3, 2]]))
    surfaces = [SimpleNamespace(label=number, surface=surface) for number in reversed(names)]
    write_report(tmp_path / "a.html", ct=None, labels=labels, names=names, surfaces=surfaces, preview=picture)
    text = (tmp_path / "a.html").read_text()
    assert f'"counts":[{",".join(["[4,4]"] * len(names))}]' in text


def test_ct_on_another_grid(case, tmp_path):
    ct, labels, names = case
    with pytest.raises(GridError):
        write_report(tmp_path / "x.html", ct=Volume(ct.array, (1.0, 1.0, 1.0)), labels=labels, names=names)
    assert not list(tmp_path.iterdir())
