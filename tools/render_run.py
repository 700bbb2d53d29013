#!/usr/bin/env python3
"""Draws a real run of fovea as an SVG picture of a terminal, for README.md.

    python3 tools/render_run.py docs/images/run.svg "fovea classify --top 3 samples/cat.jpg" "fovea search coffee"

Runs each command in a pseudo-terminal with build/release first in PATH, from the root of the tree, and draws what a person would have
seen: colours, bold, and the last state of lines that were overwritten. Commands that start with "@" run without being drawn, for
preparation. Needs nothing but Python's standard library.
"""

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path
from xml.sax.saxutils import escape

ROOT = Path(__file__).resolve().parent.parent
COLUMNS = 96
FONT_PX, CELL_PX, LINE_PX, MARGIN_PX = 14, 8.4, 19, 18
COLOURS = {"32": "#4ec46a", "33": "#e0b040"}
TEXT, DIM, BACKGROUND = "#d8dee4", "#8b949e", "#161b22"


def run(command):
    """What `command` writes to a terminal, as text with escape sequences."""
    environment = dict(os.environ, PATH=f"{ROOT / 'build/release'}:{os.environ['PATH']}", TERM="xterm-256color", LC_ALL="C.UTF-8")
    environment.pop("NO_COLOR", None)
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 50, COLUMNS, 0, 0))
    process = subprocess.Popen(["bash", "-c", command], cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=slave, stderr=slave)
    os.close(slave)
    output = b""
    while True:
        try:
            chunk = os.read(master, 65536)
        except OSError:  # the other end is closed
            break
        if not chunk:
            break
        output += chunk
    os.close(master)
    if process.wait() != 0:
        sys.exit(f"render_run: {command} ended with {process.returncode}:\n{output.decode(errors='replace')}")
    return output.decode(errors="replace")


def lines_of(output):
    """The final lines on the screen, each a list of (character, style)."""
    lines, line, column, style = [], [], 0, ()
    for token in re.findall(r"\033\[[0-9;]*[A-Za-z]|[^\033]", output):
        if token == "\n":
            lines.append(line)
            line, column = [], 0
        elif token == "\r":
            column = 0
        elif token.startswith("\033"):
            if token.endswith("K"):
                line = line[:column]
            elif token.endswith("m"):
                codes = tuple(code for code in token[2:-1].split(";") if code)
                style = () if codes in ((), ("0",)) else style + codes
        else:
            line = line[:column] + [(" ", ())] * (column - len(line)) + [(token, style)] + line[column + 1:]
            column += 1
    return lines + ([line] if line else [])


def spans(line):
    """SVG for one line: characters of one style together."""
    out, start = [], 0
    while start < len(line):
        end = start
        while end < len(line) and line[end][1] == line[start][1]:
            end += 1
        style, text = line[start][1], "".join(character for character, _ in line[start:end])
        colour = next((COLOURS[code] for code in style if code in COLOURS), DIM if "2" in style else TEXT)
        weight = ' font-weight="bold"' if "1" in style else ""
        out.append(f'<tspan x="{MARGIN_PX + start * CELL_PX:.1f}" textLength="{len(text) * CELL_PX:.1f}" fill="{colour}"{weight}>{escape(text)}</tspan>')
        start = end
    return "".join(out)


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    lines = []
    for command in sys.argv[2:]:
        output = run(command.removeprefix("@"))
        if command.startswith("@"):
            continue
        if lines:
            lines.append([])
        lines.append([("$", ("32",)), (" ", ())] + [(character, ()) for character in command])
        lines += lines_of(output)
    width = int(2 * MARGIN_PX + max(len(line) for line in lines) * CELL_PX)
    height = 2 * MARGIN_PX + len(lines) * LINE_PX
    rows = [
        f'<text y="{MARGIN_PX + (number + 0.75) * LINE_PX:.1f}" xml:space="preserve">{spans(line)}</text>' for number, line in enumerate(lines) if line
    ]
    Path(sys.argv[1]).write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        f'font-family="ui-monospace, Menlo, Consolas, DejaVu Sans Mono, monospace" font-size="{FONT_PX}">\n'
        f'<rect width="100%" height="100%" rx="8" fill="{BACKGROUND}"/>\n' + "\n".join(rows) + "\n</svg>\n",
        encoding="utf-8",
    )


if __name__ == "__main__":
    main()
