"""An encoder whose vectors come from a server of OpenAI's `embeddings`: `encode`, as the toolbox's Encoder has it."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.engines.address import Address, address
from harness.engines.kept import Kept, key_of
from harness.engines.wire import Again, ServerError, Wire, part, served
from harness.errors import UsageError

if TYPE_CHECKING:
    import numpy as np

AT_ONCE = 8  # requests on their way


class Embeddings:
    """Texts to vectors by the server at an address (http://host:8000#its-model).

    Where the server has one model alone, that one is meant. `prompt` is put before every text. What comes is kept in
    the file `keep` until `encode` has all. Raises UsageError where there is no such server, model or route.
    """

    max_length = None  # the server's own: one that reads less refuses longer texts

    def __init__(
        self,
        where: str | Address,
        *,
        prompt: str = "",
        keep: Path | None = None,
        tries: int = 6,
        seconds: float = 300.0,
    ) -> None:
        place = address(where) if isinstance(where, str) else where
        self.wire = Wire(place, tries=tries, seconds=seconds)
        self.prompt, self.keep = prompt, keep
        self.served = served(self.wire, "")
        self.width = self.wire.ask("embeddings", _read, self._body(["Hello"]))[0].size

    @property
    def told(self) -> Mapping[str, str]:
        """The server's model, and its address."""
        return {"engine": "embeddings", "model": self.served, "address": self.wire.base}

    def encode(
        self,
        texts: Iterable[str],
        batch_size: int = 64,
        progress: Callable[[int, int], None] | None = None,
    ) -> np.ndarray:
        """Return the vectors of `texts`, (n, width) float32; a text that comes twice is encoded once.

        `batch_size` texts make a request. `progress(done, total)` counts distinct texts. Raises ServerError where the
        server dies meanwhile: what had come is kept.
        """
        import numpy as np

        texts = list(texts)
        if not texts:
            raise UsageError("there are no texts to encode: give at least one")
        names = {text: key_of(self.served, self.prompt, text) for text in texts}
        kept = Kept(self.keep)
        left = [text for text in names if names[text] not in kept.found]
        batches = [left[i : i + batch_size] for i in range(0, len(left), batch_size)]

        def hear(place: int, vectors: list[np.ndarray]) -> None:
            batch = batches[place]
            if len(vectors) != len(batch) or {v.size for v in vectors} != {self.width}:
                raise ServerError(
                    f"{self.wire.base} sent {len(vectors)} vectors for {len(batch)} texts, or of another width than "
                    f"{self.width}: what has come is kept; see to the server and repeat the command"
                )
            for text, vector in zip(batch, vectors, strict=True):
                kept.add(names[text], base64.b64encode(vector.tobytes()).decode())
            if progress:
                progress(sum(name in kept.found for name in names.values()), len(names))

        if batches:
            bodies = {i: self._body(batch) for i, batch in enumerate(batches)}
            self.wire.all("embeddings", bodies, _read, hear, at_once=AT_ONCE)
        raw = b"".join(base64.b64decode(kept.found[names[text]]) for text in texts)
        kept.forget()
        return np.frombuffer(raw, dtype=np.float32).reshape(len(texts), -1).copy()

    def _body(self, texts: list[str]) -> dict[str, Any]:
        return {
            "model": self.served,
            "input": [self.prompt + text for text in texts],
            "encoding_format": "float",
        }


def _read(answer: Any) -> list[np.ndarray]:
    """Return the vectors in a server's answer, in the order of the texts. Raises Again for what are none."""
    import numpy as np

    rows = part(answer, "data", kind=list)
    places = [row.get("index", i) if isinstance(row, dict) else i for i, row in enumerate(rows)]
    if sorted(places, key=str) != sorted(range(len(rows)), key=str):
        raise Again("its vectors are not one a text")
    found: dict[int, np.ndarray] = {}
    for place, row in zip(places, rows, strict=True):
        try:
            vector = np.asarray(part(row, "embedding", kind=list), dtype=np.float32)
        except (ValueError, TypeError):
            raise Again("its vectors are no numbers") from None
        if vector.ndim != 1 or not vector.size or not np.isfinite(vector).all():
            raise Again("its vectors are no vectors of finite numbers: one a text is wanted, pooled")
        found[place] = vector
    return [found[i] for i in range(len(rows))]
