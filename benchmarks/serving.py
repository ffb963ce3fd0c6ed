"""A server on loopback, for tests and benchmarks: OpenAI's routes over a real engine of this process, hostile if asked.

`troubles` are what the first requests of a route meet instead of an answer; each is a function of the handler.
"""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from harness.engines import Ask

Trouble = Callable[[Any], None]


class Loopback:
    """Serve an engine under the name `served` as `with Loopback(...) as server: ... server.address`."""

    def __init__(
        self,
        engine: Any = None,
        served: str = "tiny",
        *,
        troubles: Iterable[Trouble] = (),
        models: Iterable[str] | None = None,
        answers_as: str | None = None,
        key: str = "",
        takes: str = "tokens",
        sends_log_probs: bool = True,
        dies_after: int | None = None,
        vectors: Callable[[str], list[float]] | None = None,
        port: int = 0,
    ) -> None:
        self.engine, self.served, self.key, self.takes = engine, served, key, takes
        self.troubles, self.models = list(troubles), [served] if models is None else list(models)
        self.answers_as = served if answers_as is None else answers_as
        self.sends_log_probs, self.dies_after, self.vectors = sends_log_probs, dies_after, vectors
        self.asked: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self.most = self.now = 0  # requests at one time
        self.lock = threading.Lock()
        self.writing = threading.Lock()
        self.server = ThreadingHTTPServer(("127.0.0.1", port), handler(self))
        self.server.daemon_threads = True
        self.server.handle_error = lambda *_: None  # type: ignore[method-assign]  # a client that has gone
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True)

    @property
    def port(self) -> int:
        return int(self.server.server_address[1])

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Loopback:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()

    def answer(self, body: dict[str, Any]) -> dict[str, Any]:
        """Answer a request for a completion as vLLM does where tokens are taken, else as a plain server."""
        prompt, tokenizer = body["prompt"], self.engine.tokenizer
        exact = isinstance(prompt, list)
        ask = Ask(
            body["max_tokens"], body["temperature"], body["top_p"], tuple(body.get("stop_token_ids", ())),
            log_probs=bool(body.get("logprobs")),
        )  # fmt: skip
        rows = [prompt if exact else tokenizer(prompt)["input_ids"]]
        with self.writing:
            [one] = self.engine.complete(rows, ask, seeds=[body["seed"]])
        choice: dict[str, Any] = {
            "text": tokenizer.decode(one.tokens),
            "finish_reason": "stop" if one.ended else "length",
        }
        if exact:
            choice["token_ids"] = one.tokens
        if ask.log_probs and self.sends_log_probs:
            pieces = [tokenizer.decode([token]) for token in one.tokens]
            choice["logprobs"] = {"tokens": pieces, "token_logprobs": one.log_probs}
        return {"model": self.answers_as, "choices": [choice], "usage": {"prompt_tokens": len(rows[0])}}


def handler(server: Loopback) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def send(self, status: int, value: Any, **headers: str) -> None:
            body = value if isinstance(value, bytes) else json.dumps(value).encode()
            self.send_response(status)
            for name, text in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name.replace("_", "-"), text)
            self.end_headers()
            self.wfile.write(body)

        def allowed(self) -> bool:
            shown = self.headers.get("Authorization", "")
            server.keys.append(shown)
            if server.key and shown != f"Bearer {server.key}":
                self.send(401, {"error": {"message": f"wrong key: {shown}"}})
                return False
            return True

        def do_GET(self) -> None:
            if self.allowed():
                if self.path == "/v1/models":
                    self.send(200, {"data": [{"id": name} for name in server.models]})
                else:
                    self.send(404, {"detail": "Not Found"})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if not self.allowed():
                return
            with server.lock:
                server.asked.append(body)
                trouble = server.troubles.pop(0) if server.troubles else None
                dead = server.dies_after is not None and len(server.asked) > server.dies_after
                server.now += 1
                server.most = max(server.most, server.now)
            try:
                if dead:
                    reset(self)
                elif trouble:
                    trouble(self)
                elif self.path == "/v1/completions" and server.engine is not None:
                    if isinstance(body["prompt"], list) and server.takes == "text":
                        self.send(422, {"detail": "prompt must be a string"})
                    else:
                        self.send(200, server.answer(body))
                elif self.path == "/v1/embeddings" and server.vectors is not None:
                    rows = [{"index": i, "embedding": server.vectors(t)} for i, t in enumerate(body["input"])]
                    self.send(200, {"data": rows[::-1], "model": server.served})
                else:
                    self.send(404, {"detail": "Not Found"})
            finally:
                with server.lock:
                    server.now -= 1

    return Handler


def says(status: int, value: Any = None, **headers: str) -> Trouble:
    """Answer with this status and value."""
    return lambda handler: handler.send(
        status, value if value is not None else {"error": "not now"}, **headers
    )


def garbage(handler: Any) -> None:
    handler.send(200, b'{"choices": [{"text": "half')


def half(handler: Any) -> None:
    """Promise a thousand bytes, send ten, and close."""
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b'{"choices"')
    handler.close_connection = True


def reset(handler: Any) -> None:
    """Close the connection without a word, as a process that dies does."""
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.connection.close()
    handler.close_connection = True


def hang(seconds: float) -> Trouble:
    return lambda handler: (time.sleep(seconds), reset(handler))[0]
