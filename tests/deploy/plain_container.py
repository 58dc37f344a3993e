"""SageMaker's contract for a container in plain Python, without a line of the library: ``plain_container.py train`` and ``... serve``.

It answers the mean target of the training rows plus a slope on one column, by least squares.
"""

import csv
import json
import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

ML = Path(os.environ.get("LOCAL_AWS_ML", "/opt/ml"))
ARTIFACT = ML / "model" / "line.json"


def rows(channel):
    for path in sorted((ML / "input" / "data" / channel).rglob("*.csv")):
        with path.open(newline="") as file:
            yield from csv.reader(file)


def train():
    settings = json.loads((ML / "input" / "config" / "hyperparameters.json").read_text())
    columns = json.loads((ML / "input" / "data" / "job" / "job.json").read_text())["csv_columns"]
    place = columns.index(settings["column"])
    pairs = [(float(row[place]), float(row[0])) for row in rows("train")]
    count, x, y = len(pairs), sum(one for one, _ in pairs), sum(other for _, other in pairs)
    xx, xy = sum(one * one for one, _ in pairs), sum(one * other for one, other in pairs)
    slope = (count * xy - x * y) / (count * xx - x * x)
    line = {"place": place - 1, "slope": slope, "start": (y - slope * x) / count, "inputs": len(columns) - 1}
    losses = [(line["start"] + slope * float(row[place]) - float(row[0])) ** 2 for row in rows("validation")]
    loss = sum(losses) / len(losses)
    sys.stdout.write(f"validation:loss={loss:.6f}; validation:rmse={loss**0.5:.6f};\n")
    ARTIFACT.write_text(json.dumps(line))


class Server(BaseHTTPRequestHandler):
    def do_GET(self):
        self.answer(200 if self.path == "/ping" else 404, "")

    def do_POST(self):
        line = json.loads(ARTIFACT.read_text())
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        asked = [row for row in csv.reader(body.splitlines()) if row]
        if any(len(row) != line["inputs"] for row in asked):
            self.answer(400, f"a row has {line['inputs']} values")
            return
        values = [line["start"] + line["slope"] * float(row[line["place"]]) for row in asked]
        self.answer(200, json.dumps({"predictions": values}))

    def answer(self, status, text):
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_):
        pass


def serve():
    address, port = (
        os.environ.get("LOCAL_AWS_ADDRESS", "0.0.0.0"),
        int(os.environ.get("SAGEMAKER_BIND_TO_PORT", "8080")),
    )
    ThreadingHTTPServer((address, port), Server).serve_forever()


if __name__ == "__main__":
    {"train": train, "serve": serve}[sys.argv[1]]()
