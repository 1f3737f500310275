"""A server like vLLM's or SGLang's for tests: it answers as it is told, and keeps what it was asked."""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer


class Server:
    """Answers on 127.0.0.1 as told by ``reply(request) -> (status, body)``, and keeps what it was asked."""

    def __init__(self, reply):
        self.requests, self.headers = [], []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.requests.append(body)
                outer.headers.append(dict(self.headers))
                status, answer = reply(body)
                self.send_response(status)
                self.end_headers()
                self.wfile.write(answer if isinstance(answer, bytes) else json.dumps(answer).encode())

            def log_message(self, *args):
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()


@contextmanager
def serving():
    """Gives ``start(reply) -> Server``; all that were started stop at the end."""
    servers = []

    def start(reply):
        servers.append(Server(reply))
        return servers[-1]

    try:
        yield start
    finally:
        for server in servers:
            server.server.shutdown()
            server.server.server_close()


def said(text):
    """A chat completion, as ``reply`` gives it."""
    return 200, {"choices": [{"message": {"content": text}}]}


def parts_of(request):
    """What a request shows: words as they are, pictures as the bytes of their JPEGs in base64."""
    prefix = "data:image/jpeg;base64,"
    content = request["messages"][0]["content"]
    assert all(part["type"] == "text" or part["image_url"]["url"].startswith(prefix) for part in content)
    return [
        part["text"] if part["type"] == "text" else part["image_url"]["url"].removeprefix(prefix).encode()
        for part in content
    ]
