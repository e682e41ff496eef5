"""An instance metadata service (IMDSv2) that announces the end of a spot instance once a file exists.

python3 imds.py ADDRESS PORT FILE     FILE holds the notice, as Amazon's JSON

It answers as Amazon's does: a token is asked for by PUT, each question needs it, and there is a 404 without a notice.
https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-retrieval.html
"""

from __future__ import annotations

import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

TOKEN = "AQAEAtoken=="


class Handler(BaseHTTPRequestHandler):
    """Answers a token, and what the file holds."""

    notice: Path

    def do_PUT(self) -> None:
        """Answer the token."""
        lifetime = self.headers.get("X-aws-ec2-metadata-token-ttl-seconds", "")
        is_token = self.path == "/latest/api/token" and lifetime.isdigit()
        self._answer(200 if is_token else 400, TOKEN if is_token else "")

    def do_GET(self) -> None:
        """Answer the notice."""
        if self.headers.get("X-aws-ec2-metadata-token") != TOKEN:
            self._answer(401, "")
        elif self.path == "/latest/meta-data/spot/instance-action" and self.notice.exists():
            self._answer(200, self.notice.read_text())
        else:
            self._answer(404, "")

    def _answer(self, code: int, text: str) -> None:
        self.send_response(code)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: object) -> None:
        """Print nothing."""


def serve(address: str, port: int, notice: Path) -> HTTPServer:
    """Return a server of that address which reads the notice from a file."""
    return HTTPServer((address, port), type("Answers", (Handler,), {"notice": notice}))


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])).serve_forever()
