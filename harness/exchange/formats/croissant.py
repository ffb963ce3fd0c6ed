"""Croissant 1.1 for the data that runs read: each source's files with their SHA-256, as MLCommons describes data sets.

A description is only true of what the runs read: a source that is no longer there, or has changed, is refused. Data
of the hub are named by their revision, which is their content.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from harness.data import files
from harness.data.sources import Source, resolve
from harness.errors import HarnessError, UsageError
from harness.exchange.formats.naming import hub_set, moment, slug
from harness.papers.statement import Paper
from harness.runs.results import Record

CONFORMS = "http://mlcommons.org/croissant/1.1"
TYPES = {
    ".csv": "text/csv",
    ".tsv": "text/tab-separated-values",
    ".json": "application/json",
    ".jsonl": "application/jsonlines",
    ".parquet": "application/x-parquet",
}
COLUMNS = (".csv", ".tsv", ".jsonl", ".parquet")  # whose columns can be named
MANY = 1000  # files of one source that are listed
GIT = "https://github.com/mlcommons/croissant/issues/80"  # stands for a repository's checksum, as on the hub
TERMS = (
    *("citeAs", "column", "data", "dataType", "equivalentProperty", "examples", "extract", "field"),
    *(
        "fileObject",
        "fileProperty",
        "fileSet",
        "format",
        "includes",
        "isLiveDataset",
        "jsonPath",
        "key",
        "md5",
    ),
    *("parentField", "path", "recordSet", "references", "regex", "repeated", "replace", "samplingRate"),
    *("separator", "source", "subField", "transform", "containedIn", "isArray", "arrayShape"),
)
CONTEXT: Mapping[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "dct": "http://purl.org/dc/terms/",
    "sc": "https://schema.org/",
    "conformsTo": "dct:conformsTo",
    **{term: f"cr:{term}" for term in TERMS},
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
}


def exported(name: str, paper: Paper, records: Sequence[Record], cache: Path) -> dict[str, str]:
    """Return a description for each set of sources that finished runs read; `cache` is where fetched data lie.

    Raises HarnessError for data that are gone or have changed.
    """
    found: dict[str, str] = {}
    for record in sorted(records, key=lambda one: (moment(one), one.result.run_key)):
        if record.result.status == "finished":
            read = {field: told for field, told in record.result.data.items() if field != "model"}
            mark = hashlib.sha256(json.dumps([d.get("digest") for d in read.values()]).encode())
            place = f"{slug(name)}-{mark.hexdigest()[:8]}.json"
            if place not in found and any(told.get("name") for told in read.values()):
                found[place] = _described(name, paper, record, read, cache)
    return found


def _described(
    name: str, paper: Paper, record: Record, read: Mapping[str, Mapping[str, str]], cache: Path
) -> str:
    asked = {one.name: one for one in fields(paper.data)}
    objects: list[dict[str, Any]] = []
    sets: list[dict[str, Any]] = []
    licences = []
    for field, told in read.items():
        source = str(told.get("name") or "")
        if not source:
            continue
        about = str(asked[field].metadata.get("help", "")) if field in asked else ""
        if on_hub := hub_set(source):
            revision = str(told.get("revision") or on_hub.revision)
            objects.append(
                {
                    "@type": "cr:FileObject",
                    "@id": field,
                    "name": slug(field),
                    "description": f"{about}; {source}".lstrip("; "),
                    "contentUrl": f"https://huggingface.co/datasets/{on_hub.id}/tree/{revision or 'main'}",
                    "encodingFormat": "git+https",
                    "sha256": GIT,
                }
            )
            continue
        made = _as_it_was(field, source, str(told.get("digest", "")), cache)
        licences += [made.licence] if made.licence else []
        listed = files.data_files(made.path)
        if len(listed) > MANY:
            raise UsageError(f"{field}: {source} has {len(listed):,} files: at most {MANY:,} are listed")
        for file in listed:
            inside = file.name if made.path.is_file() else file.relative_to(made.path).as_posix()
            objects.append(_object(field, file, inside, about, cache))
        if made.path.is_file():
            sets.append(_records(field, objects[-1]["@id"], made))
    return (
        json.dumps(
            {
                "@context": CONTEXT,
                "@type": "sc:Dataset",
                "conformsTo": CONFORMS,
                "name": f"{slug(name)}-data",
                "description": f"What runs of {paper.title} read: "
                + "; ".join(f"{field}: {told['name']}" for field, told in read.items() if told.get("name")),
                "datePublished": moment(record).date().isoformat(),
                "version": "1.0.0",
                "url": paper.url,
                **({"license": list(dict.fromkeys(licences))} if licences else {}),
                "distribution": objects,
                **({"recordSet": sets} if sets else {}),
            },
            indent=1,
            ensure_ascii=False,
        )
        + "\n"
    )


def _as_it_was(field: str, source: str, digest: str, cache: Path) -> Source:
    """Return a source again, if it still is what the runs read."""
    try:
        found = resolve(source, cache=cache, columns=())
    except HarnessError as error:
        raise HarnessError(f"{field}: what the runs read is no longer there: {error}") from None
    if found.digest != digest:
        raise HarnessError(
            f"{field}: {source} is not what the runs read: put that back, or make the runs again"
        )
    return found


def _object(field: str, file: Path, inside: str, about: str, cache: Path) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject",
        "@id": f"{field}/{inside}",
        "name": inside,
        "description": about or field,
        "contentUrl": inside,
        "contentSize": f"{file.stat().st_size} B",
        "encodingFormat": TYPES.get(file.suffix.lower(), "text/plain"),
        "sha256": files.digest(file, cache),
    }


def _records(field: str, place: str, source: Source) -> dict[str, Any]:
    """Return how a file's records are read: by column, or a text whole."""
    named = source.path.suffix.lower() in COLUMNS
    called = tuple(next(files.rows(source.path), {})) if named else ("text",)

    def extract(column: str) -> dict[str, str]:
        return {"column": column} if named else {"fileProperty": "content"}

    return {
        "@type": "cr:RecordSet",
        "@id": f"{field}-records",
        "name": f"{slug(field)}-records",
        "field": [
            {
                "@type": "cr:Field",
                "@id": f"{field}-records/{column}",
                "name": column,
                "dataType": "sc:Text",
                "source": {"fileObject": {"@id": place}, "extract": extract(column)},
            }
            for column in called
        ],
    }
