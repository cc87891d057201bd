"""What gcovr counted, a room a row; fails where lines are missing that must not be. test/coverage.sh calls it."""

import json
import sys

LEAST_OF_ALL = 90.0  # percent of the lines of lib/

# Rooms by the beginnings of their files' names. Those that do no input or output come first: all of their lines.
PURE = {
    "the library's words": ["error.", "endpoint.", "time."],
    "sse": ["sse/"],
    "retry": ["retry/"],
    "http: parsing, writing": ["http/ascii", "http/cookies", "http/fields", "http/request", "http/response_parser", "http/url"],
    "opencode: turns": ["opencode/turn_tracker", "opencode/ledger/", "opencode/turn_queue",
                        "opencode/agent_event", "opencode/recording", "opencode/ask_policy", "opencode/turn_limits",
                        "opencode/capture_state"],
    "opencode: protocol 2": [f"opencode/protocol/v2/{name}." for name in
                             ("answers", "dialect", "event", "judge", "recording", "requests",
                              "told_text", "wire")],
    "opencode: reading": ["opencode/event", "opencode/types", "opencode/json_reader", "opencode/wire"],
}
REST = {
    "http: exchange": ["http/"],
    "runtime": ["runtime/"],
    "stream": ["stream/"],
    "opencode: client, server, session": ["opencode/"],
    "testing": ["testing/"],
}


def room_of(name):
    for room, beginnings in (PURE | REST).items():
        if any(name.startswith(b) for b in beginnings):
            return room
    return "other"


def heads(path):
    """The lines on which a struct or a class begins: what the compiler writes for it by itself is nobody's line."""
    with open(path, encoding="utf-8") as opened:
        return {n for n, text in enumerate(opened, 1) if text.lstrip().startswith(("struct ", "class "))}


def counted(file):
    """The lines that gcovr counts, each once, and whether it ran; and the branches."""
    ran, branches = {}, []
    left_out = heads(file["file"])
    for line in file["lines"]:
        if line.get("gcovr/noncode") or line.get("gcovr/excluded") or line["line_number"] in left_out:
            continue
        number = line["line_number"]
        ran[number] = ran.get(number, False) or line["count"] > 0
        branches += [b["count"] > 0 for b in line.get("branches", [])]
    return ran, branches


def ranges(numbers):
    """[3, 4, 5, 9] as "3-5, 9"."""
    told = []
    for n in sorted(numbers):
        if told and told[-1][1] == n - 1:
            told[-1][1] = n
        else:
            told.append([n, n])
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in told)


def percent(ran, of):
    return 100.0 * ran / of if of else 100.0


def row(name, lines, lines_ran, branches, branches_ran):
    print(f"{name:36} {lines_ran:5}/{lines:5} {percent(lines_ran, lines):6.1f} %"
          f" {branches_ran:6}/{branches:6} {percent(branches_ran, branches):6.1f} %")


def main(path):
    with open(path, encoding="utf-8") as opened:
        files = json.load(opened)["files"]
    rooms, missing = {}, {}
    for file in files:
        name = file["file"].removeprefix("lib/holdfast/")
        ran, branches = counted(file)
        sums = rooms.setdefault(room_of(name), [0, 0, 0, 0])
        for i, n in enumerate((len(ran), sum(ran.values()), len(branches), sum(branches))):
            sums[i] += n
        unseen = [n for n, seen in ran.items() if not seen]
        if unseen:
            missing[name] = unseen

    print(f"{'room':36} {'lines':>20} {'branches':>23}")
    for room in [*PURE, *REST, "other"]:
        if room in rooms:
            row(room, *rooms[room])
    total = [sum(column) for column in zip(*rooms.values())]
    row("lib/", *total)

    print("\nlines that no unit test runs:" if missing else "\nevery line runs")
    for name, numbers in sorted(missing.items()):
        print(f"lib/holdfast/{name}: {ranges(numbers)}")

    broken = [name for name in missing if room_of(name) in PURE]
    if broken:
        print(f"\ncoverage: every line of these must run: {', '.join(sorted(broken))}", file=sys.stderr)
    all_lines = percent(total[1], total[0])
    if all_lines < LEAST_OF_ALL:
        print(f"\ncoverage: {all_lines:.1f} % of lib/'s lines run, less than {LEAST_OF_ALL:.0f} %", file=sys.stderr)
    return 1 if broken or all_lines < LEAST_OF_ALL else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
