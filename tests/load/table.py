#!/usr/bin/env python3
"""Fills the table of cost by the load tools from outside: what a stream, an FLV player and a WHEP player cost a node.

    tests/load/table.py GANTRY TOOLS CLIPS [--bench NODE_BENCH] [--parts LIST] [--runs N] [--out FILE]

GANTRY: a release build. TOOLS: the folder with psgen, flvload, whepload and procmon. CLIPS: the folder that their
make-clips.sh has filled (ffmpeg adds the access unit delimiters that psgen wants). NODE_BENCH: the executable of `cargo bench --bench node --no-run`, which adds the floors (bare loops
of the same work, in the same run) and, as parts `scale`, `slow` and `tls`, what the tools from outside cannot see: the p99 of
the added latency, viewers that do not keep up, and the cost of TLS.

LIST: of ingest, flv, merged, whep, first, crowd, floors, scale, slow, tls; the first six if it is not given. Figures are
medians of N runs (three) with all runs behind them; each run has a node of its own. Run nothing else meanwhile: a run takes
about three minutes. The raw figures go to FILE as JSON lines.

A figure is processor time, user and system, by the kernel's accounting (procmon), over a window of six seconds after the load
has settled. Memory is the growth of the resident set. The node is ended by its id; nothing listens beyond loopback.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import tempfile
import time
import urllib.request

WINDOW = 6
PASSWORD = "a password of the table"
SSRC = 100_000_001


class Node:
    """A node on free ports with a folder of its own."""

    def __init__(self, gantry, **variables):
        self.dir = tempfile.mkdtemp(prefix="gantry-table-")
        env = dict(
            os.environ,
            GANTRY_HTTP_LISTEN="127.0.0.1:0",
            GANTRY_HTTP_TLS_LISTEN="",
            GANTRY_HTTP_OPEN_MEDIA="true",
            GANTRY_SIP_LISTEN="127.0.0.1:0",
            GANTRY_MEDIA_RTP_PORT="0",
            GANTRY_WEBRTC_LISTEN="127.0.0.1:0",
            GANTRY_LOG_FORMAT="json",
            GANTRY_ADMIN_PASSWORD=PASSWORD,
            **variables,
        )
        log = open(os.path.join(self.dir, "log"), "w+")
        self.process = subprocess.Popen(
            [gantry, "serve", "--data", self.dir], env=env, stdout=subprocess.DEVNULL, stderr=log
        )
        self.port = int(self._started(log.name).rsplit(":", 1)[1])
        login = {"username": "admin", "password": PASSWORD}
        self.token = ""
        self.token = self.call("POST", "/bvcsp/v1/auth/login", login)["data"]["token"]

    def _started(self, log):
        for _ in range(300):
            for line in open(log):
                fields = json.loads(line).get("fields", {}) if line.endswith("\n") else {}
                if fields.get("message") == "node started":
                    return fields["http_addr"]
            if self.process.poll() is not None:
                break
            time.sleep(0.1)
        raise SystemExit("the node did not start:\n" + open(log).read())

    def call(self, method, path, body=None):
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"content-type": "application/json", "authorization": self.token},
        )
        text = urllib.request.urlopen(request, timeout=30).read()
        return json.loads(text) if text.startswith(b"{") else text.decode()

    def open(self, start, end):
        """Opens sources; their ports in a file for psgen."""
        name = os.path.join(self.dir, f"ports-{start}")
        with open(name, "w") as ports:
            for n in range(start, end):
                body = {"stream": f"s{n}", "ssrc": SSRC + n, "transport": "udp"}
                ports.write(f"{self.call('POST', '/gantry/v1/ingest', body)['port']}\n")
        return name

    def lost(self):
        """Packets that never came or that the kernel dropped, and viewers moved forward."""
        names = ("gantry_rtp_lost_total", "gantry_kernel_drops_total", "gantry_viewers_skipped_total")
        lines = self.call("GET", "/metrics").splitlines()
        return sum(float(l.rsplit(" ", 1)[1]) for l in lines if l.startswith(names))

    def resident_kib(self):
        for line in open(f"/proc/{self.process.pid}/status"):
            if line.startswith("VmRSS:"):
                return int(line.split()[1])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(30)
        shutil.rmtree(self.dir, ignore_errors=True)


class Table:
    def __init__(self, options):
        self.options = options
        self.figures = {}
        self.raw = open(options.out, "a") if options.out else None
        self.clips = tempfile.mkdtemp(prefix="gantry-clips-")
        plain = os.path.join(options.clips, "h264_720p25_2m.h264")
        self.video = os.path.join(self.clips, "delimited.h264")
        with_delimiters = ("-c", "copy", "-bsf:v", "h264_metadata=aud=insert", "-f", "h264")
        ffmpeg = ("ffmpeg", "-v", "error", "-y", "-i", plain, *with_delimiters, self.video)
        subprocess.run(ffmpeg, check=True)

    def add(self, name, unit, value, must=None, **beside):
        print(f"  {name}: {value:.3f} {unit} {beside if beside else ''}", flush=True)
        self.figures.setdefault(name, (unit, must, []))[2].append(value)
        if self.raw:
            self.raw.write(json.dumps({"row": name, "unit": unit, "value": value, **beside}) + "\n")
            self.raw.flush()

    def show(self):
        print("\n| work | median | must reach | runs |\n|---|---|---|---|")
        for name, (unit, must, values) in self.figures.items():
            median = statistics.median(values)
            said = "-" if must is None else f"{must} {'met' if median <= must else 'NOT MET'}"
            runs = ", ".join(f"{v:.3g}" for v in values)
            print(f"| {name}, {unit} | {median:.3g} | {said} | {runs} |")

    # -- the tools --

    def tool(self, name, *arguments):
        command = [os.path.join(self.options.tools, name), *map(str, arguments)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)

    def send(self, ports, seconds, start=0):
        count = sum(1 for _ in open(ports))
        audio = os.path.join(self.options.clips, "g711a_20s.alaw")
        return self.tool(
            "psgen", "--video", self.video, "--audio", audio,
            "--n", count, "--secs", seconds, "--host", "127.0.0.1", "--port", 9, "--ports-file", ports,
            "--ssrc", SSRC + start,
        )

    def cost(self, node, units, delay):
        """Milliseconds of processor time a unit-second."""
        said = result(self.tool("procmon", "--pid", node.process.pid, "--delay", delay, "--secs", WINDOW))
        return said["cpu_ns"] / 1e6 / said["wall"] / units

    # -- the parts --

    def ingest(self):
        for n, must in ((100, 0.9), (200, 0.7), (400, 0.6)):
            with Node(self.options.gantry) as node:
                before = node.resident_kib()
                sender = self.send(node.open(0, n), WINDOW + 8)
                cost = self.cost(node, n, 6)
                memory = (node.resident_kib() - before) / 1024 / n
                lost = node.lost()
                self.add(f"ingest RTP/PS over UDP, N={n}", "CPU ms per stream-second", cost, must, lost=lost)
                self.add(f"memory of an ingested stream, N={n}", "MiB", memory, 0.8)
                result(sender)

    def players(self, name, sizes, must_memory, start, **variables):
        """One stream to more and more players, each size at a node of its own. `start(node, m, seconds)`."""
        for m, must in sizes:
            with Node(self.options.gantry, **variables) as node:
                sender = self.send(node.open(0, 1), WINDOW + 22)
                time.sleep(3)
                # What the first viewer of all makes a node allocate is not a viewer's.
                result(self.tool("flvload", "--port", node.port, "--path", "/live/s0.flv", "--m", 1, "--secs", 3))
                before = node.resident_kib()
                players = start(node, m, WINDOW + 8)
                cost = self.cost(node, m, 5)
                memory = (node.resident_kib() - before) / m
                said = result(players)
                beside = {k: said[k] for k in ("ok", "closed", "receiving", "lost") if k in said}
                beside["slowest_percent"] = slowest(said)
                beside["lost_or_skipped_by_the_node"] = node.lost()
                self.add(f"{name}, M={m}", "CPU ms per viewer-second", cost, must, **beside)
                if must_memory:
                    self.add(f"{name}: memory of a player, M={m}", "KiB", memory, must_memory)
                sender.kill()
                sender.wait()

    def flv_players(self, node, m, seconds):
        path = ("--path", "/live/s0.flv")
        return self.tool("flvload", "--port", node.port, *path, "--m", m, "--secs", seconds, "--warm", 4)

    def whep_players(self, node, m, seconds):
        path = ("--path", "/whep/s0")
        return self.tool("whepload", "--port", node.port, *path, "--m", m, "--secs", seconds, "--warm", 4)

    def flv(self):
        self.players("HTTP-FLV, 1 stream to players", ((500, 0.25), (1000, 0.22)), 4, self.flv_players)

    def merged(self):
        sizes = ((500, 0.10), (1000, 0.09))
        name = "HTTP-FLV merged over 350 ms"
        self.players(name, sizes, None, self.flv_players, GANTRY_FLV_MERGE_MS="350")

    def whep(self):
        self.players("WHEP, 1 stream to players", ((100, 0.6), (200, 0.6)), 40, self.whep_players)

    def first(self):
        with Node(self.options.gantry) as node:
            ports = node.open(0, 1)
            path = ("--path", "/live/s0.flv")
            player = self.tool("flvload", "--probe", "--port", node.port, *path, "--m", 1, "--secs", 8)
            # Until the request of the player has surely been read: it must wait at the node.
            time.sleep(0.3)
            sent = result(self.send(ports, 3))
            seen = result(player)
            waited = (seen["first_key_frame"] - sent["first_ns"]) / 1e6
            self.add("first RTP packet to first key frame tag, G.711A beside it", "ms", waited, 50)

    def crowd(self):
        with Node(self.options.gantry) as node:
            senders = [self.send(node.open(0, 1), 30), self.send(node.open(1, 51), 30, 1)]
            time.sleep(3)
            crowd = [self.flv_players(node, 1000, 16), self.whep_players(node, 200, 16)]
            cores = self.cost(node, 1000, 7)
            said = [result(players) for players in crowd]
            lacking = 100 - min(slowest(s) for s in said)
            name = "1000 FLV and 200 WHEP players of a stream, 50 streams beside: what the slowest lacks"
            beside = {"cores": cores, "lost_or_skipped": node.lost(), "whep_lost": said[1]["lost"]}
            self.add(name, "% of the mean", lacking, 1, **beside)
            for sender in senders:
                sender.kill()
                sender.wait()

    def bench(self, *parts):
        subprocess.run([self.options.bench, "--bench", *parts], check=True)


def result(process):
    text = process.communicate(timeout=120)[0]
    return json.loads(text.strip().splitlines()[-1])


def slowest(said):
    """The slowest player as a percentage of the mean."""
    of = "per_player_mbit_s_" if "per_player_mbit_s_min" in said else ""
    least, mean = (said[k] for k in ((of + "min", of + "mean") if of else ("min_mbit_s", "mean_mbit_s")))
    return 100 * least / mean if mean else 0.0


def main():
    words = __doc__.split("\n\n")
    parser = argparse.ArgumentParser(description=words[0])
    parser.add_argument("gantry")
    parser.add_argument("tools")
    parser.add_argument("clips")
    parser.add_argument("--bench")
    parser.add_argument("--parts", default="ingest,flv,merged,whep,first,crowd")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--out")
    options = parser.parse_args()
    parts = options.parts.split(",")
    own = [p for p in parts if p in ("ingest", "flv", "merged", "whep", "first", "crowd")]
    of_bench = [p for p in parts if p in ("floors", "scale", "slow", "tls")]
    if set(parts) != {*own, *of_bench} or (of_bench and not options.bench):
        parser.error("a part is not known, or needs --bench")
    table = Table(options)
    for run in range(options.runs if own else 0):
        print(f"run {run + 1}", flush=True)
        for part in own:
            getattr(table, part)()
    shutil.rmtree(table.clips, ignore_errors=True)
    table.show()
    if of_bench:
        table.bench(*of_bench)


if __name__ == "__main__":
    main()
