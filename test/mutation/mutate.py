"""Makes mutants of the library's rooms that do no input or output, and counts which ones a test notices.

Each is compiled as one file, by the command the build has for it, and linked in front of the library's archives; the
test programs that matter for the file are run, the most specific first, then the simulation. test/mutate.sh calls this
in a build that is whole, and prints what the options mean.
"""

import argparse
import atexit
import concurrent.futures
import hashlib
import json
import os
import resource
import shlex
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import mutants

ROOT = Path(__file__).resolve().parents[2]
LIB = ROOT / "lib" / "holdfast"

# What is mutated, and the unit tests that touch it: the most specific and the cheapest first. A name may be followed by
# the cases that are meant, in Boost.Test's words. What measures time is left out, it would notice a busy machine.
TRACKER = ["turn_tracker", "turn_tracker_others", "recordings:!a_stream_broken*", "predecessor_parity_turns", "session",
           "session_others", "session_follow", "recordings:a_stream_broken*"]
TESTS = {
    "sse/parser.cpp": ["sse_parser:!*_linear_time,!*random_stream*", "sse_parser:*random_stream*", "event_source"],
    "sse/utf8.cpp": ["utf8"],
    "retry/failure.cpp": ["failure", "event_source"],
    "retry/endpoint_breaker.cpp": ["endpoint_breaker", "event_source"],
    "retry/policy.cpp": ["retry_policy", "retry_health", "event_source_health", "event_source"],
    "http/head_lines.cpp": ["http_odd_answers", "http_exchange"],
    "http/chunk_decoder.cpp": ["http_odd_answers", "http_exchange"],
    "http/response_parser.cpp": ["http_odd_answers", "http_exchange", "sse_http_cases"],
    "opencode/turn_tracker.cpp": TRACKER,
    "opencode/ledger/approvals.cpp": ["ledger_pieces", *TRACKER],
    "opencode/ledger/deadlines.cpp": ["ledger_pieces", *TRACKER],
    "opencode/ledger/events.cpp": ["ledger_pieces", *TRACKER],
    "opencode/ledger/family.cpp": TRACKER,
    "opencode/ledger/judge.cpp": ["ledger_judge", *TRACKER],
    "opencode/ledger/merge.cpp": ["ledger_judge", *TRACKER],
    "opencode/ledger/narrator.cpp": ["ledger_pieces", *TRACKER],
    "opencode/ledger/session_ledger.cpp": ["ledger_judge", *TRACKER],
    "opencode/ledger/transcript.cpp": ["ledger_transcript", *TRACKER],
    "opencode/ledger/turn_tracker.cpp": ["ledger_pieces", *TRACKER],
    "opencode/turn_queue.cpp": ["turn_queue", "session"],
    "opencode/event.cpp": ["event_parse", "event_peek:!it_agrees_with_a_full_parse_on_*", "recordings:!a_stream_broken*",
                           "event_peek:it_agrees_with_a_full_parse_on_*"],
    "stream/event_hub.cpp": ["event_hub", "session"],
}

SIMULATION = "holdfast-sim-test"
MEMORY = 4 << 30  # a mutant may loop and fill it
QUIETLY = ["--log_level=nothing", "--report_level=no", "--catch_system_errors=no"]
COMPILING = 300  # seconds; more is a fault of the machine


@dataclass(frozen=True)
class Target:
    """One mutant of one file, by a key that outlives edits elsewhere in it."""

    file: str
    mutant: mutants.Mutant
    key: str
    line: int
    change: str


def all_targets(sources):
    for file, source in sources.items():
        lines = source.splitlines()
        same = {}
        for m in mutants.find(source):
            line = m.line(source)
            text = (file, lines[line - 1].strip(), m.kind, m.column(source), m.describe(source))
            same[text] = same.get(text, 0) + 1
            key = hashlib.sha1(repr((text, same[text])).encode()).hexdigest()[:16]
            yield Target(file, m, key, line, m.describe(source))


def sample(targets, seed, limit):
    """The same for the same seed: by a hash of each, so that an edit does not change the choice of the others."""
    drawn = sorted(targets, key=lambda t: hashlib.sha1(f"{seed}:{t.key}".encode()).digest())
    return drawn[:limit] if limit else drawn


def limited():
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def run(command, seconds, cwd):
    """How the command ended: "passed", "failed" or "timeout"."""
    child = subprocess.Popen(command, cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                             stderr=subprocess.DEVNULL, start_new_session=True, preexec_fn=limited)
    try:
        return "passed" if child.wait(timeout=seconds) == 0 else "failed"
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, 9)
        child.wait()
        return "timeout"


class Build:
    """Knows how one file is compiled, and how a test program is linked with an object in front."""

    def __init__(self, directory):
        self.directory = directory
        self.compile_commands = {}
        for entry in json.loads((directory / "compile_commands.json").read_text()):
            self.compile_commands.setdefault(Path(entry["file"]).resolve(), shlex.split(entry["command"]))
        self.links = {}
        self.headers = {}
        self.header_folder = Path(tempfile.mkdtemp(prefix="headers-", dir=directory))
        atexit.register(shutil.rmtree, self.header_folder, ignore_errors=True)
        self.lock = threading.Lock()

    def compiling(self, file, source, output):
        words = list(self.compile_commands[(LIB / file).resolve()])
        if Path(words[0]).name == "ccache":
            words = words[1:]
        words = [w for w in words if w not in ("-Werror", "-g")]
        words[words.index("-c") + 1] = str(source)
        words[words.index("-o") + 1] = str(output)
        return words + ["-w"]

    def compile(self, file, source, output):
        command = self.compiling(file, source, output)
        header = self.header_of(file)
        if header:
            command += ["-include", str(header)]
        return run(command, COMPILING, self.directory) == "passed"

    def header_of(self, file):
        """What the file includes, compiled once for all its mutants: a third to a half of the time."""
        with self.lock:
            if file not in self.headers:
                self.headers[file] = self.make_header(file)
            return self.headers[file]

    def make_header(self, file):
        header = self.header_folder / (file.replace("/", "_") + ".hpp")
        lines = (LIB / file).read_text().splitlines()
        header.write_text("#pragma once\n" + "".join(l + "\n" for l in lines if l.startswith("#include <")))
        command = self.compiling(file, header, str(header) + ".gch")
        command[command.index("-c")] = "-xc++-header"
        return header if run(command, COMPILING, self.directory) == "passed" else None

    def link(self, program, mutant, output):
        return run([*self.link_words(program, mutant, output)], COMPILING, self.directory) == "passed"

    def link_words(self, program, mutant, output):
        if program not in self.links:
            shown = subprocess.run(["ninja", "-t", "commands", f"bin/{program}"], cwd=self.directory, check=True,
                                   capture_output=True, text=True).stdout
            last = shown.strip().splitlines()[-1]
            self.links[program] = shlex.split(last.removeprefix(": && ").removesuffix(" && :"))
        words = list(self.links[program])
        words[words.index("-o") + 1] = str(output)
        first_archive = next(i for i, w in enumerate(words) if w.endswith(".a"))
        words.insert(first_archive, str(mutant))
        if shutil.which("mold"):
            words.append("-fuse-ld=mold")
        return words

    def has(self, program):
        return (self.directory / "bin" / program).exists()


class Campaign:
    def __init__(self, build, sources, options):
        self.build = build
        self.sources = sources
        self.options = options
        self.limits = {}
        self.results_file = build.directory / "mutants" / "results.jsonl"
        self.results_file.parent.mkdir(parents=True, exist_ok=True)
        self.results = self.load()
        self.lock = threading.Lock()

    def load(self):
        known = {}
        if self.results_file.exists():
            for line in self.results_file.read_text().splitlines():
                entry = json.loads(line)
                known[entry["key"]] = entry
        return known

    def keep(self, target, how):
        entry = {"key": target.key, "file": target.file, "line": target.line, "change": target.change, **how}
        with self.lock:
            self.results[target.key] = entry
            with self.results_file.open("a") as out:
                out.write(json.dumps(entry) + "\n")

    def commands(self, file):
        """The programs that may notice a mutant of this file, with their arguments."""
        for test in TESTS[file]:
            name, _, cases = test.partition(":")
            yield f"unit-{name}", [*QUIETLY, *(f"--run_test={c}" for c in cases.split(",") if c)]
        if self.build.has(SIMULATION) and self.options.seeds > 0:
            yield SIMULATION, ["--seeds", f"1-{self.options.seeds}"]

    def measure(self, files):
        """Each program passes as it is, and how long it may take: many times that."""
        for program, arguments in {(p, tuple(a)) for f in files for p, a in self.commands(f)}:
            begun = time.monotonic()
            if run([str(self.build.directory / "bin" / program), *arguments], 600, self.build.directory) != "passed":
                raise SystemExit(f"mutate: {program} fails without any mutant")
            self.limits[program, arguments] = 5 + 8 * (time.monotonic() - begun)

    def try_one(self, target):
        folder = self.build.directory / "mutants" / target.key
        folder.mkdir(parents=True, exist_ok=True)
        try:
            self.keep(target, self.outcome(target, folder))
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def outcome(self, target, folder):
        source, mutant = folder / Path(target.file).name, folder / "mutant.o"
        source.write_text(target.mutant.apply(self.sources[target.file]))
        if not self.build.compile(target.file, source, mutant):
            return {"end": "unbuildable"}
        tried = []
        for program, arguments in self.commands(target.file):
            executable = folder / program
            if not executable.exists() and not self.build.link(program, mutant, executable):
                return {"end": "unbuildable", "by": program}
            how = run([str(executable), *arguments], self.limits[program, tuple(arguments)], self.build.directory)
            tried.append(" ".join([program, *arguments]))
            if how != "passed":
                return {"end": "killed", "by": program, "how": how}
        return {"end": "survived", "tried": tried}

    def is_due(self, target):
        known = self.results.get(target.key)
        if not known or known["end"] == "unbuildable":
            return True
        if known["end"] == "killed":
            return False
        if self.options.retest:
            return True
        wanted = {" ".join([p, *a]) for p, a in self.commands(target.file)}
        return not wanted <= set(known["tried"])

    def survived(self, target):
        return self.results.get(target.key, {}).get("end") == "survived"

    def run(self, targets):
        due = [t for t in targets if self.is_due(t)]
        print(f"{len(targets)} mutants, {len(targets) - len(due)} of them known from before", flush=True)
        # The headers that many share first, then the mutants.
        for file in sorted({t.file for t in due}):
            self.build.header_of(file)
        self.measure({t.file for t in due})
        with concurrent.futures.ThreadPoolExecutor(self.options.jobs) as pool:
            for done, _ in enumerate(pool.map(self.try_one, due), 1):
                if done % 25 == 0:
                    print(f"{done} of {len(due)} tried", flush=True)

    def report(self, targets):
        print()
        print(f"{'file':28} {'mutants':>7} {'unit':>5} {'sim':>5} {'survived':>8} {'score':>6}")
        total = [0, 0, 0, 0]
        survivors = []
        for file in sorted({t.file for t in targets}):
            counts = [0, 0, 0, 0]
            for t in (t for t in targets if t.file == file):
                found = self.results.get(t.key)
                if not found or found["end"] == "unbuildable":
                    continue
                counts[0] += 1
                if found["end"] == "survived":
                    counts[3] += 1
                    survivors.append(t)
                else:
                    counts[2 if found["by"] == SIMULATION else 1] += 1
            print_row(file, counts)
            total = [a + b for a, b in zip(total, counts)]
        print_row("all", total)
        print("\nsurvived:" if survivors else "\nnone survived")
        for t in sorted(survivors, key=lambda t: (t.file, t.line)):
            print(f"lib/holdfast/{t.file}:{t.line}: {t.change}")


def print_row(name, counts):
    mutants_, unit, sim, survived = counts
    score = f"{100 * (unit + sim) / mutants_:.1f}" if mutants_ else "-"
    print(f"{name:28} {mutants_:7} {unit:5} {sim:5} {survived:8} {score:>6}")


def main():
    options = argparse.ArgumentParser(prog="mutate.sh")
    options.add_argument("--seeds", type=int, default=200, help="seeds of the simulation for what survives (0: none)")
    options.add_argument("--only", help="only files whose path contains this, such as retry/ or turn_tracker")
    options.add_argument("--jobs", type=int, default=1, help="mutants at a time")
    options.add_argument("--limit", type=int, default=600, help="how many (0: all)")
    options.add_argument("--sample", type=int, default=1, help="which ones: the same number, the same mutants")
    options.add_argument("--retest", action="store_true", help="only those that survived before, again")
    options.add_argument("--list", action="store_true", help="only list them")
    options.add_argument("--report", action="store_true", help="only report what is known from before")
    options.add_argument("--build", type=Path, help=argparse.SUPPRESS)
    options.add_argument("--targets", action="store_true", help=argparse.SUPPRESS)
    options = options.parse_args()

    files = [f for f in TESTS if not options.only or options.only in f]
    if not files:
        raise SystemExit(f"mutate: no file is named by {options.only}")
    if options.targets:
        print(" ".join(sorted({"unit-" + t.partition(":")[0] for f in files for t in TESTS[f]})))
        return
    sources = {f: (LIB / f).read_text() for f in files}
    every = list(all_targets(sources))
    targets = sample(every, options.sample, options.limit)
    if options.list:
        for t in sorted(targets, key=lambda t: (t.file, t.line)):
            print(f"lib/holdfast/{t.file}:{t.line}: {t.mutant.kind}: {t.change}")
        return
    campaign = Campaign(Build(options.build.resolve()), sources, options)
    if options.retest:
        targets = [t for t in every if campaign.survived(t)]
    if not options.report:
        campaign.run(targets)
    campaign.report(targets)


if __name__ == "__main__":
    sys.exit(main())
