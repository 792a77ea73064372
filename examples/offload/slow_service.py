"""Somebody else's slow service: GET /SECONDS/ is answered after that time. For this machine alone.

python slow_service.py PORT
"""

import sys
import time
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

LONGEST = 30  # seconds


class Slow(BaseHTTPRequestHandler):
    def do_GET(self):
        seconds = self.path.strip("/")
        if not (seconds.isascii() and seconds.isdigit() and int(seconds[:9]) <= LONGEST):
            self.answer(HTTPStatus.NOT_FOUND, f"expected /SECONDS/, at most {LONGEST}\n")
            return
        time.sleep(int(seconds))
        self.answer(HTTPStatus.OK, f"{seconds} seconds well spent\n")

    def answer(self, status, text):
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    with ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Slow) as server:
        print("The slow service is up", flush=True)
        server.serve_forever()
