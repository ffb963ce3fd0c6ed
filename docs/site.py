"""Put together the site's pages: a page for each paper's card, included as it is, and links that lead somewhere.

A card is `plugins/<paper>/README.md`. Its links are relative to the plugin's folder; on the site those to a page
lead to that page, pictures are taken along, and links to source files become plain words.
"""

import re
from pathlib import Path

from mkdocs.structure.files import File

ROOT = Path(__file__).parent.parent
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)")
FENCE = re.compile(r"(^```.*?^```)", flags=re.M | re.S)


def cards() -> dict[str, Path]:
    """Return every paper's card by the page it becomes."""
    return {f"papers/{path.parent.name}.md": path for path in sorted(ROOT.glob("plugins/*/README.md"))}


def pages() -> dict[str, Path]:
    """Return the file behind every page of the site."""
    own = {path.name: path for path in (ROOT / "docs").glob("*.md")}
    return own | cards() | {"security.md": ROOT / "SECURITY.md"}


def on_config(config):
    """Leave out what is not there, and list the papers."""
    there, nav = pages(), []
    for entry in config["nav"]:
        ((title, page),) = entry.items()
        if page == "papers":
            nav.append({title: [{path.parent.name: card} for card, path in cards().items()]})
        elif page in there:
            nav.append(entry)
    config["nav"] = nav
    return config


def on_files(files, config):
    """Add the pages that lie outside `docs/`, and the pictures they show."""
    for page, path in pages().items():
        if path.parent == ROOT / "docs":
            continue
        text, pictures = linked(path.read_text(encoding="utf-8"), path.parent, page)
        files.append(File.generated(config, page, content=text or f"# {path.parent.name}\n"))
        for uri, picture in pictures.items():
            if files.get_file_from_path(uri) is None:
                files.append(File.generated(config, uri, content=picture.read_bytes()))
    return files


def linked(text: str, folder: Path, page: str) -> tuple[str, dict[str, Path]]:
    """Return a page's text with its relative links turned to the site's, and its pictures by their place there."""
    by_path = {path.resolve(): uri for uri, path in pages().items()}
    up = "../" * page.count("/")
    pictures: dict[str, Path] = {}

    def turned(found: re.Match[str]) -> str:
        picture, words, target = found.groups()
        if re.match(r"[a-z]+:|#", target):
            return found.group()
        bare, mark, anchor = target.partition("#")
        path = (folder / bare).resolve()
        if path in by_path:
            return f"[{words}]({up}{by_path[path]}{mark}{anchor})"
        if picture and path.is_file() and path.is_relative_to(ROOT):
            uri = path.relative_to(ROOT).as_posix()
            pictures[uri] = path
            return f"![{words}]({up}{uri})"
        return words

    parts = FENCE.split(text)  # code blocks at odd places: left as they are
    return "".join(part if i % 2 else LINK.sub(turned, part) for i, part in enumerate(parts)), pictures
